"""One page of HTML of some runs, which needs no network and no server."""

from fedmtl.analysis.html.write import html_of as html_of
from fedmtl.analysis.html.write import write_html as write_html
