"""What a configuration may say of the custody `bitcoin`. It loads none of what the custody needs."""

import attrs


@attrs.frozen(kw_only=True)
class BitcoinOptions:
    """Options of the custody `bitcoin`.

    `setup` is the path of the setup file, `directory` where the audit log and the gate's memory are kept. The node is
    reached at `url`, by the path of its `cookie`, or as `user` with the password in the environment variable that
    `password_env` names; `pin_env` names the one with the HSM's PIN. `fee_rate_default_units`, for 1,000 virtual
    bytes, is paid while the node has no estimate; with 0, drafts wait for one.
    """

    setup: str
    directory: str
    url: str = "http://127.0.0.1:8332"
    cookie: str = ""
    user: str = ""
    password_env: str = "PERPKIT_BITCOIN_PASSWORD"  # noqa: S105 - the name of a variable
    pin_env: str = "PERPKIT_HSM_PIN"
    fee_rate_default_units: int = attrs.field(default=0, validator=attrs.validators.ge(0))
