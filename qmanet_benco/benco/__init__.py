"""The plugin for IMDL-BenCo, the launcher of its stock scripts and their corrections; only this room imports IMDLBenCo.
It stands on `model`; `evaluation` and the command line may import it.
"""
