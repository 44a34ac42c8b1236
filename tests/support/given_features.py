"""A backbone whose features a test chooses."""

from train.backbones.base import Backbone


class GivenFeatures(Backbone):
    """The images are the features of layer 5."""

    def __init__(self, channels=2):
        super().__init__()
        self.channels = {5: channels}

    def forward(self, images):
        return {5: images}

    def last_stage_parameters(self):
        return []
