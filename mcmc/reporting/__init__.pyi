from .pages import destination as destination
from .pages import page as page
from .pages import report as report
