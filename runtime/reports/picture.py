"""A figure that notebooks show, whatever backend the session has, and that pyplot knows nothing of."""

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure of its own: making one opens no window and changes no setting of the session."""

    def png(self) -> bytes:
        """The picture as PNG."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=110)
        return picture.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()
