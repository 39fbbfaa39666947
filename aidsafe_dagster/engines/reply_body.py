"""The body of a reply, read up to a bound.

A server that sends without end, or a small body that decompresses into a huge one, must not fill
the memory. The bound counts what comes out of the decompression, which goes piece by piece.
"""

from collections.abc import AsyncIterator

import aiohttp

MIB = 2**20
MAX_STATUS_BYTES = 8 * MIB
"""For pages that no model writes: lists of models, metrics, properties."""


class ReplyTooLarge(Exception):
    """A reply is larger than it may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the reply is larger than {limit // MIB} MiB (max_reply_mib)")


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of a reply.

    Raises:
        ReplyTooLarge: it has more than `limit` bytes, decompressed.
    """
    size = response.content_length
    if size is not None and size > limit:
        response.close()
        raise ReplyTooLarge(limit)
    # Compressed, it may still be of any size.
    if size is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    async for chunk in chunks_of(response, limit):
        body += chunk
    return bytes(body)


async def chunks_of(
    response: aiohttp.ClientResponse, limit: int
) -> AsyncIterator[bytes]:
    """Yield the body of a reply as it arrives.

    Raises:
        ReplyTooLarge: it has more than `limit` bytes, decompressed.
    """
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            response.close()
            raise ReplyTooLarge(limit)
        yield chunk
