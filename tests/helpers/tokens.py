"""Views to tokens, the part of the network in front of the seam."""


def tokens_of(net, views):
    """`(N, V, 3, h, w)` views to tokens `(N, L, D)`."""
    return net.embed(net.cells(net.pyramid(views)), len(views))
