"""An HSM behind PKCS#11 as the key of perpkit's release gate."""

from perpkit_pkcs11.token import Enrolment, Pkcs11Token, enrol

__all__ = ["Enrolment", "Pkcs11Token", "enrol"]
