"""The paper: one file per concept. Knows torch and mmsegmentation, never IMDLBenCo."""
