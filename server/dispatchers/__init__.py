"""Dispatchers: how a token's payload reaches the phone. One file each, all of one shape."""

from fidoloop.server.dispatchers.base import Dispatcher, DispatchError
from fidoloop.server.dispatchers.link import LinkDispatcher
from fidoloop.server.dispatchers.link_png_qr_code import LinkPngQrCodeDispatcher
from fidoloop.server.dispatchers.png_qr_code import PngQrCodeDispatcher

BY_NAME: dict[str, Dispatcher] = {
    dispatcher.name: dispatcher for dispatcher in (PngQrCodeDispatcher(), LinkDispatcher(), LinkPngQrCodeDispatcher())
}

__all__ = ["BY_NAME", "DispatchError", "Dispatcher"]
