"""Whether a figure can be read: every word large enough, inside the picture and clear of all others."""

from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def texts(figure):
    """All words that are really drawn (not the ticks beyond an axis) with their boxes in pixels."""
    canvas, drawn, draw = FigureCanvasAgg(figure), [], Text.draw
    with mock.patch.object(Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer))[1]):
        canvas.draw()
    words = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    return [(text, text.get_window_extent(canvas.get_renderer())) for text in words]


def assert_readable(figure):
    """Every text is at least 8 pt, inside the figure, and clear of all others."""
    boxes = texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    assert len(boxes) > 3
    for index, (text, box) in enumerate(boxes):
        assert text.get_fontsize() >= 8, text
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{text.get_text()!r} is cut off"
        for other, other_box in boxes[:index]:
            across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            down = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert across <= 1 or down <= 1, f"{text.get_text()!r} lies on {other.get_text()!r}"
