import gzip
import tracemalloc

import pytest

from local.log_analytics.errors import IngestionError
from local.log_analytics.ingestion_api import BODY_LIMIT_BYTES, _inflate


def test_inflating_stops_at_the_limit():
    bomb = gzip.compress(b" " * 100 * BODY_LIMIT_BYTES)
    tracemalloc.start()

    with pytest.raises(IngestionError) as refused:
        _inflate(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert refused.value.status == 413
    assert peak < 4 * BODY_LIMIT_BYTES


def test_body_of_exactly_the_limit_is_whole():
    body = b" " * BODY_LIMIT_BYTES

    assert _inflate(gzip.compress(body)) == body
