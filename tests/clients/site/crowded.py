"""The same board behind a narrow door: one connection is admitted for each second of a clock that is set by hand."""

from board import app

from crudite import Limits, Request
from crudite.interfaces.base import Admission

seconds = [0.0]
app.admission = Admission(Limits(arrivals=1), lambda: seconds[0])


@app.create("pass-time")
async def pass_time(request: Request) -> None:
    seconds[0] += 1.0
