"""Which names a certificate is for, and which names nobody can get a public certificate for."""

from ipaddress import ip_address

from cryptography.x509 import Certificate, DNSName, IPAddress, SubjectAlternativeName
from cryptography.x509.extensions import ExtensionNotFound
from cryptography.x509.oid import NameOID

__all__ = ["covers", "is_ip_address", "is_local_name", "names_of"]

#: RFC 6761 sections 6.2 and 6.3, what a link resolves by itself (RFC 6762 section 3), and the name ICANN has set aside
#: for private networks.
_LOCAL_SUFFIXES = ("localhost", "test", "local", "internal")


def is_local_name(name: str) -> bool:
    """Whether a name is for private use: localhost, \\*.localhost, \\*.test, \\*.local, \\*.internal or an address."""
    return is_ip_address(name) or name.lower().rstrip(".").rpartition(".")[2] in _LOCAL_SUFFIXES


def is_ip_address(name: str) -> bool:
    """Whether it is a numeric address and not a name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def names_of(certificate: Certificate) -> tuple[str, ...]:
    """The DNS names and addresses a certificate is for; the common name when it has none (RFC 6125 section 6.4.4)."""
    try:
        extension = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(attribute.value).lower() for attribute in common)
    dns = [name.lower() for name in extension.get_values_for_type(DNSName)]
    return (*dns, *(str(address) for address in extension.get_values_for_type(IPAddress)))


def covers(names: tuple[str, ...], name: str) -> bool:
    """Whether a name is among those of a certificate; a star stands for one label (RFC 6125 section 6.4.3)."""
    wanted = name.lower().rstrip(".")
    _, dot, parent = wanted.partition(".")
    return wanted in names or bool(dot and f"*.{parent}" in names)
