"""What to do next after an error: every error of our families has an answer."""

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.oauth.errors import OAuthRefusedError
from fidoloop.protocol.uaf.status import ClientError, StatusCode

_TOKENS: Final = "`fidoloop keys tokens` lists what is there, each with its URI"
_DOCTOR: Final = "`fidoloop doctor` looks at the machine"
_NEW_TOKEN: Final = "have the log-in dispatched again, and take the new token"  # noqa: S105
_ENROL: Final = "enrol again: `fidoloop server enrol USER`, then `fidoloop phone register`"

ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Key hardware.
        "UriError": _TOKENS,
        "ModuleError": _DOCTOR,
        "DeviceError": "`fidoloop keys check URI` tries what the token can do",
        "PinRequired": "give the PIN: FIDOLOOP_PIN, pin-source in the URI, or a terminal that can ask",
        "PinIncorrect": "give the right PIN; too many wrong ones lock it",
        "PinLocked": "`fidoloop keys unblock` sets a new one with the PUK of a card; else the security officer does",
        "ManagementKeyRequired": "see `management key` in docs/key-stores.md",
        "ManagementKeyIncorrect": "see `management key` in docs/key-stores.md",
        "TokenAbsent": f"plug it in, or for SoftHSM set SOFTHSM2_CONF to what it was made with; {_TOKENS}",
        "TokenNotInitialised": "initialise it with its maker's tool, with a user PIN",
        "DeviceTimeout": "wake or touch the device, plug it in again, and look at its keys before trying again",
        "TokenFull": "`fidoloop keys delete URI --id HEX` makes room",
        "TokenReadOnly": "take away the write protection, or use another token",
        "KeyGone": "`fidoloop keys list URI` says what is there",
        "KeyExists": "choose another id, or `fidoloop keys delete URI --id HEX` first",
        "KeyInUse": "choose another key, or end what uses it",
        "KeyRefused": "use another token: `fidoloop keys check URI --create` tries one",
        "NotSupported": "`fidoloop keys check URI` says what the token can do",
        "ReaderError": _DOCTOR,
        "UsbError": "`modprobe uhid`, and let this user open /dev/uhid; or `fidoloop card run --fido`, in a reader",
        "CardStateError": "name another --state, or a copy of the file that is whole",
        "KeyStoreError": _DOCTOR,
        # The phone and the laptop.
        "TamperedStateError": f"restore the phone's file from a backup, or remove it and {_ENROL}",
        "OperationalError": "it is the phone's file: make room on its disk, or end what else holds it, and try again",
        "AsmError": "put in the card or token that holds the key; `fidoloop keys check URI` looks at it",
        "StationError": "go nearer, let the laptop serve again, and scan again",
        "NetworkError": "check that the server runs, its URL, and --ca; `fidoloop doctor --server URL` tries it",
        "NotInstalledError": f"install it as it says; {_DOCTOR}",
        "ProfileMissingError": "`fidoloop phone register` sets a phone up; --name and --home choose another",
        "MalformedPayloadError": "name a picture that is there, or the whole code; `fidoloop inspect` says what it is",
        "DeviceMissingError": f"give an image file or the text instead; {_DOCTOR}",
        "CannotDecryptError": "use the phone it was sent to; `fidoloop phone targets` says where this one is known",
        "TokenExpiredError": _NEW_TOKEN,
        "TokenRedeemedError": _NEW_TOKEN,
        "UnknownHostError": "take tokens of servers that this phone is registered with: `fidoloop phone list`",
        "NoDispatchTargetError": f"`fidoloop phone targets` lists those there are; {_ENROL}",
        "UserDeclinedError": "nothing was signed; begin again to answer otherwise",
        "NotEnrolledError": "`fidoloop phone app enroll`, then `fidoloop phone app login`",
        "OAuthRefusedError": "`fidoloop phone app login` again; `fidoloop server audit` says why a server refused",
        "NoPasskeyError": "`fidoloop phone passkey list` says what is there, `register` makes one",
        "PasskeyExistsError": "log in with it, or `fidoloop phone passkey delete` first",
        "PasskeyError": "`fidoloop phone passkey list` says what is there",
        "PushReplayedError": _NEW_TOKEN,
        "ServerRefusedError": "`fidoloop server audit` says what the server saw",
        "ClientFailureError": "`fidoloop phone list` says what this phone has registered",
        "Failure": "docs/load.md says what the server has to know: users, metadata, an API credential",
        "BridgeError": f"try again; {_DOCTOR}",
        # What was given to read, and the server.
        "MalformedError": "`fidoloop inspect FILE` says what it is, and what is wrong with it",
        "UnreadableError": "give the whole of it; --as KIND reads what is broken (`fidoloop inspect --as list`)",
        "EvidenceRefusal": "check --root, --nonce and --at; `fidoloop inspect FILE` shows what the evidence says",
        "ConfigError": "correct it; `fidoloop server config` prints the settings and where each is from",
        "NotFoundError": "list what there is: user, credential, target, metadata, policy, apikey, oauth have `list`",
        "ExistsError": "choose another name, or remove the one that is there",
        "ListenError": "choose another --port, or end what listens there; `fidoloop doctor` looks",
        "BackupError": "name another file, or the home of a server that is not running",
        "StoreError": "check the setting `database` and PGPASSWORD, that its server runs, and who may write there",
        "ServerError": "`fidoloop server config` prints the settings in effect",
        "OSError": "check that the path is there, and yours to read or write",
    }
)
"""By the names of classes, so that none of them has to be imported: the most special one counts."""

_OF_CLIENT: Final[Mapping[ClientError, str]] = MappingProxyType(
    {
        ClientError.USER_CANCELLED: "nothing was signed; begin again to answer otherwise",
        ClientError.USER_NOT_RESPONSIVE: "begin again, and answer in time",
        ClientError.USER_LOCKOUT: ADVICE["PinLocked"],
        ClientError.KEY_DISAPPEARED_PERMANENTLY: _ENROL,
        ClientError.INSUFFICIENT_AUTHENTICATOR_RESOURCES: ADVICE["TokenFull"],
        ClientError.INSECURE_TRANSPORT: "use https: `fidoloop server run --tls-dev`, and --ca",
        ClientError.UNTRUSTED_FACET_ID: "add the phone's facet to the server's setting `facets`",
        ClientError.NO_SUITABLE_AUTHENTICATOR: "`fidoloop server policy check` says what the policy accepts",
    }
)
_POLICY: Final = (
    "the server's device policy, HOME/oauth/device-policy.json, decides: `fidoloop server oauth policy check` says"
    " what its rules grant"
)
_OF_OAUTH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_attestation": f"`fidoloop keys attest` says what the token can prove; {_POLICY}",
        "invalid_client_attestation": _POLICY,
        "invalid_scope": _POLICY,
        "unmet_authentication_requirements": f"choose another --acr; {_POLICY}",
        "insufficient_authorization": _POLICY,
        "invalid_client": "`fidoloop phone app logout --unregister`, then `enroll`: the server does not know the app",
        "username_or_password_invalid": "give the right one; `fidoloop server user password USER` sets it",
        "too_many_attempts": "wait ten minutes",
    }
)
"""By the code of an OAuth error."""
_OF_STATUS: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "give an API credential: `fidoloop server apikey add NAME`, then FIDOLOOP_API_KEY or --api-key-source",
        403: "give a credential that may do this",
        404: "check the server's URL, and that the user exists: `fidoloop server user list`",
        StatusCode.UNAUTHORIZED: "give an API credential: `fidoloop server apikey add NAME`, then FIDOLOOP_API_KEY",
        StatusCode.NOT_FOUND: "`fidoloop server user add USER` makes a user",
        StatusCode.REQUEST_TIMEOUT: _NEW_TOKEN,
        StatusCode.UNKNOWN_AAID: "`fidoloop server metadata add` what `fidoloop keys metadata URI` writes",
        StatusCode.UNKNOWN_KEYID: _ENROL,
    }
)


def advice_for(error: BaseException) -> str:
    """Return what to do next after an error; empty for one that is none of ours."""
    if isinstance(error, ClientFailureError) and error.error in _OF_CLIENT:
        return _OF_CLIENT[error.error]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ADVICE["OperationalError"]
    if isinstance(error, OAuthRefusedError):
        if error.uaf_status is not None and error.uaf_status in _OF_STATUS:
            return _OF_STATUS[error.uaf_status]
        if error.error in _OF_OAUTH:
            return _OF_OAUTH[error.error]
    if isinstance(error, ServerRefusedError) and type(error) is ServerRefusedError and error.status in _OF_STATUS:
        return _OF_STATUS[error.status]
    return next((ADVICE[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in ADVICE), "")
