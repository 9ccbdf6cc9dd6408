"""From a suite to records, from records to tables and figures; metrics, attacks, costs and speed."""
