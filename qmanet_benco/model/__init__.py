"""The network of the paper, one file for each of its concepts.
Every room but `data` may import it; it knows torch and mmsegmentation, and never IMDLBenCo.
"""
