"""JSON Web Tokens (RFC 7519): their claims, and how they are verified."""
