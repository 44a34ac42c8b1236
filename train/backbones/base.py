"""What every backbone is: a network that returns the features of its layers."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network that turns images (b, 3, h, w) into features {layer: (b, c, h', w')}; layer 5 is the last.

    `channels` maps the layers that it has (numbered as in the paper's Table 3) to their numbers of channels. `grid` is
    the side of the last layer's map where methods may give its places embeddings. `attends` says that a place
    weighs the others by their features, as attention does.
    """

    channels: dict[int, int]
    grid: int
    attends = False

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of every layer."""
        raise NotImplementedError

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters between the layers 4 and 5."""
        raise NotImplementedError
