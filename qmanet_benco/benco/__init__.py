"""The only room that imports IMDLBenCo: the plugin, the launcher and the corrections of the stock scripts."""
