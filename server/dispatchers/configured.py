"""The dispatchers that are configured."""

from collections.abc import Mapping
from pathlib import Path

from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers.base import Dispatcher
from fidoloop.server.dispatchers.ble import BleDispatcher
from fidoloop.server.dispatchers.firebase_cloud_messaging import FirebaseCloudMessagingDispatcher
from fidoloop.server.dispatchers.link import LinkDispatcher
from fidoloop.server.dispatchers.link_png_qr_code import LinkPngQrCodeDispatcher
from fidoloop.server.dispatchers.png_qr_code import PngQrCodeDispatcher
from fidoloop.server.dispatchers.web_push import WebPushDispatcher
from fidoloop.server.push.service_account import load_service_account
from fidoloop.server.push.vapid_key import ensure_vapid_key


def make_dispatchers(config: ServerConfig) -> Mapping[str, Dispatcher]:
    """Return the configured dispatchers by their names.

    Raises:
        ConfigError: what one of them needs cannot be read.
    """
    found: list[Dispatcher] = []
    for name in config.dispatchers:
        match name:
            case "png-qr-code":
                found.append(PngQrCodeDispatcher())
            case "link":
                found.append(LinkDispatcher(config.link_base_url))
            case "link-png-qr-code":
                found.append(LinkPngQrCodeDispatcher(config.link_base_url))
            case "web-push":
                found.append(WebPushDispatcher(config, ensure_vapid_key(config.vapid_key)))
            case "firebase-cloud-messaging":
                account = load_service_account(Path(config.fcm.service_account))
                found.append(FirebaseCloudMessagingDispatcher(config, account))
            case "ble":
                found.append(BleDispatcher())
    return {dispatcher.name: dispatcher for dispatcher in found}
