"""What an authenticator's display shows of a transaction (UAF authenticator commands 6.2.3; ASM API 3.6)."""

from collections.abc import Sequence

from fidoloop.authenticator.card_model import CardModel
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.models import Model
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import Transaction
from fidoloop.protocol.uaf.png import is_displayable
from fidoloop.protocol.uaf.transactions import IMAGE_PNG, TEXT_PLAIN, transaction_content


def fitting_content(model: Model | CardModel, transactions: Sequence[Transaction]) -> bytes:
    """Return the content of the rendering that the model's display can show.

    Raises:
        AuthenticatorError: ACCESS_DENIED without a display, CANNOT_RENDER_TRANSACTION_CONTENT.
    """
    if not model.tc_display:
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "this model has nothing to show a transaction on")
    for transaction in transactions:
        if transaction.contentType == model.tc_display_content_type and _fits(model, transaction):
            try:
                return transaction_content(transaction)
            except MalformedError as error:
                raise _cannot_render(str(error)) from None
    wanted = f"{model.tc_display_content_type} rendering of the transaction"
    raise _cannot_render(f"no {wanted}{' of a size and kind this display takes' if model.images else ''}")


def confirmation(model: Model | CardModel, content: bytes, *, app_id: str, username: str | None) -> VerificationRequest:
    """Return what the user is shown of a transaction's decoded content.

    Raises:
        AuthenticatorError: as `fitting_content`.
    """
    if not model.tc_display:
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "this model has nothing to show a transaction on")
    if model.tc_display_content_type == TEXT_PLAIN:
        return VerificationRequest("transaction", app_id, username, transaction_text=_text(content))
    try:
        if any(is_displayable(content, image) for image in model.images or ()):
            return VerificationRequest("transaction", app_id, username, transaction_image=content)
    except MalformedError as error:
        raise _cannot_render(str(error)) from None
    raise _cannot_render("an image of another size or kind than this display takes")


def _fits(model: Model | CardModel, transaction: Transaction) -> bool:
    return transaction.contentType != IMAGE_PNG or transaction.tcDisplayPNGCharacteristics in (model.images or ())


def _text(content: bytes) -> str:
    text = content.decode("ascii", errors="replace")
    if not text.isprintable() and not all(c.isprintable() or c in "\n\t" for c in text):
        raise _cannot_render("the transaction has unprintable characters")
    return text


def _cannot_render(detail: str) -> AuthenticatorError:
    return AuthenticatorError(CommandStatus.CANNOT_RENDER_TRANSACTION_CONTENT, detail)
