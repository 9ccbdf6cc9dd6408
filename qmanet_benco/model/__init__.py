"""The paper: one file per concept. Knows torch and mmsegmentation, never IMDLBenCo."""

from qmanet_benco.model.deferred import LAYERS, defer

defer(*LAYERS)
