"""The lab console by path; where the lab is off these routes are not there."""

from fidoloop.server.http.dispatch import Endpoint, Routes
from fidoloop.server.http.messages import EVENT_STREAM, JSON
from fidoloop.server.lab import services
from fidoloop.server.lab.access import for_own_pages, for_the_lab


def lab_routes() -> Routes:
    """Return the page and the services that it calls."""
    posted = {
        "/lab/leave": services.leave,
        "/lab/session": services.story,
        "/lab/session/new": services.make,
        "/lab/session/fault": services.inject_fault,
    }
    routes: Routes = {
        "/lab": {"GET": Endpoint(handler=for_own_pages(services.show_page))},
        "/lab/enter": {"POST": Endpoint(handler=for_own_pages(services.enter), consumes=JSON, produces=JSON)},
        "/lab/overview": {"GET": Endpoint(handler=for_the_lab(services.show_overview), produces=JSON)},
        "/lab/stream": {"POST": Endpoint(handler=for_the_lab(services.stream), consumes=JSON, produces=EVENT_STREAM)},
    }
    return routes | {
        path: {"POST": Endpoint(handler=for_the_lab(handler), consumes=JSON, produces=JSON)}
        for path, handler in posted.items()
    }
