"""Self-contained HTML pages for a run, a comparison, a folder of images and an explanation.

Each page is described by plain dataclasses (:mod:`tellapart.report.content`) and built
from them by one function that needs nothing but Jinja2:

- :func:`tellapart.report.run.render_report`
- :func:`tellapart.report.comparison.render_report`
- :func:`tellapart.report.data.render_report`
- :func:`tellapart.report.explanation.render_report`

:func:`tellapart.files.write_text` puts the text where it belongs, and
:func:`tellapart.pixels.thumbnails.make_thumbnail` makes the small pictures.
"""
