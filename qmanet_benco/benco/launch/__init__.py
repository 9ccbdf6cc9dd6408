"""A stock script is run here, in this process or in a group of several on one or more machines.
The top of `benco`: the rooms above import it, and no other sub-room should.
"""
