"""What browsers are told of our own pages and their parts: to run and show nothing from elsewhere, and nowhere else.

- `Content-Security-Policy` (W3C CSP 3): no inline script, no other host, no form to elsewhere, no frame around it.
- `X-Frame-Options` (RFC 7034): no frame, for browsers that do not know the former.
- `Cross-Origin-Opener-Policy`: a page of another site that has opened this one does not hold on to it.
- `Referrer-Policy`: no other site is told the address.

That a type is what it says (`nosniff`) holds for every answer.
"""

POLICY = (
    b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)

PAGE_HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin-allow-popups"),
    (b"referrer-policy", b"same-origin"),
)
