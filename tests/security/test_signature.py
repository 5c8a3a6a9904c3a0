"""The claims of a signature: where they stand, scope, dates, signed headers.

Sources: "Authenticating Requests: Using Query Parameters", "Error responses".
"""

import pytest

from kit import OLD, SRC, answer, presign_v2, tag, utc
from lib.s3raw import EMPTY_SHA256, quote

DENIED = (403, "AccessDenied")
MISMATCH = (403, "SignatureDoesNotMatch")
MALFORMED = (400, "AuthorizationHeaderMalformed")
QUERY = (400, "AuthorizationQueryParametersError")
SKEWED = (403, "RequestTimeTooSkewed")
ARGUMENT = (400, "InvalidArgument")


def raw_get(site, target, headers):
    c = site.root
    headers = [("Host", c.host_header)] + [h for h in headers if h[0] != "Host"]
    return c.raw(c.encode("GET", target, headers))


def signed(site, target, edit=lambda v: v, **kw):
    """Headers of a signed GET, with the Authorization value edited."""
    headers = [("Host", site.root.host_header)]
    site.root.sign_v4("GET", target, headers, **kw)
    return [(k, edit(v) if k == "Authorization" else v) for k, v in headers]


# --- one claim of identity (section 4, line 3) ---


def test_header_and_query(site, bucket):
    target = "/%s/old" % bucket
    urls = [site.root.presign("GET", target), presign_v2(site.root, "GET", target)]
    for url in urls:
        headers = [("Host", site.root.host_header)]
        site.root.sign_v4("GET", url, headers)
        assert answer(raw_get(site, url, headers)) == ARGUMENT
        headers = [("Host", site.root.host_header)]
        site.root.sign_v2("GET", url, headers, target)
        assert answer(raw_get(site, url, headers)) == ARGUMENT
    both = urls[0] + "&" + urls[1].split("?", 1)[1]
    assert answer(raw_get(site, both, [])) == ARGUMENT
    for part in urls[0].split("?", 1)[1].split("&"):
        if part.split("=")[0] in (
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Signature",
        ):
            url = target + "?" + part
            r = raw_get(site, url, signed(site, url))
            assert answer(r) == ARGUMENT, (part, r)


def test_two_authorization_headers(site, bucket):
    target = "/%s/old" % bucket
    headers = signed(site, target)
    r = raw_get(site, target, headers + [headers[-1]])
    assert answer(r) == ARGUMENT, r
    other = [("Host", site.root.host_header)]
    site.root.sign_v2("GET", target, other)
    r = raw_get(site, target, headers + [other[-1]])
    assert answer(r) == ARGUMENT, r


@pytest.mark.parametrize("name", ["X-Amz-Signature", "X-Amz-Credential", "Signature"])
def test_parameters_twice(site, bucket, name):
    target = "/%s/old" % bucket
    if name == "Signature":
        url, want = presign_v2(site.root, "GET", target), DENIED
    else:
        url, want = site.root.presign("GET", target), QUERY
    value = url.split(name + "=")[1].split("&")[0]
    r = raw_get(site, url + "&%s=%s" % (name, value), [])
    assert answer(r) == want, r


# --- shape ---


@pytest.mark.parametrize(
    "edit, want",
    [
        (lambda v: "", DENIED),
        (lambda v: "AWS4-HMAC-SHA256", MALFORMED),
        (lambda v: v.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), ARGUMENT),
        (lambda v: v.replace("AWS4-HMAC-SHA256", "Basic"), ARGUMENT),
        (lambda v: v.replace("AWS4-HMAC-SHA256", "Bearer"), ARGUMENT),
        (
            lambda v: v.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            (501, "NotImplemented"),
        ),
        (lambda v: "AWS ", ARGUMENT),
        (lambda v: "AWS key", ARGUMENT),
        (lambda v: "AWS key:", ARGUMENT),
        (lambda v: "AWS :sig", ARGUMENT),
        (lambda v: v.split(", Signature")[0], MALFORMED),
        (lambda v: v.replace("SignedHeaders", "Signedheaders"), MALFORMED),
        (lambda v: v + ", Signature=00", MALFORMED),
        (lambda v: v + ", Extra=00", MALFORMED),
        (lambda v: v[:-1], MISMATCH),
        (lambda v: v + "0", MISMATCH),
        (lambda v: v[:-64] + v[-64:].upper(), MISMATCH),
        (lambda v: v[:-64] + "0" * 64, MISMATCH),
        (lambda v: v[:-64] + "%00" * 10, MISMATCH),
        (lambda v: v.replace("/s3/", "/sts/"), MALFORMED),
        (lambda v: v.replace("/aws4_request", "/aws4"), MALFORMED),
        (lambda v: v.replace("/us-east-1/", "//"), MALFORMED),
        (lambda v: v.replace("/us-east-1/", "/eu-west-1/"), MISMATCH),
        (lambda v: v.replace("/us-east-1/s3/aws4_request", ""), MALFORMED),
        (lambda v: v.replace("=" + "TESTROOTUSER", "="), MALFORMED),
    ],
)
def test_authorization_header(site, bucket, edit, want):
    target = "/%s/old" % bucket
    r = raw_get(site, target, signed(site, target, edit))
    assert answer(r) == want, r
    assert b"the old object" not in r.body


@pytest.mark.parametrize(
    "name, value, want",
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA512", QUERY),
        ("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256", (501, "NotImplemented")),
        ("X-Amz-Algorithm", "", QUERY),
        ("X-Amz-Credential", "", QUERY),
        ("X-Amz-Credential", "TESTROOTUSER", QUERY),
        ("X-Amz-Date", "", QUERY),
        ("X-Amz-Date", "yesterday", QUERY),
        ("X-Amz-Date", "20200101", QUERY),
        ("X-Amz-Expires", "", QUERY),
        ("X-Amz-Expires", "0", QUERY),
        ("X-Amz-Expires", "-1", QUERY),
        ("X-Amz-Expires", "604801", QUERY),
        ("X-Amz-Expires", "18446744073709551617", QUERY),
        ("X-Amz-Expires", "600x", QUERY),
        ("X-Amz-Expires", " 600", QUERY),
        ("X-Amz-Expires", "+600", QUERY),
        ("X-Amz-Expires", "1e2", QUERY),
        ("X-Amz-Expires", "601", MISMATCH),
        ("X-Amz-SignedHeaders", "", QUERY),
        ("X-Amz-SignedHeaders", "range", DENIED),
        ("X-Amz-SignedHeaders", "host;host", QUERY),
        ("X-Amz-SignedHeaders", "host;range", MISMATCH),
        ("X-Amz-Signature", "", QUERY),
        ("X-Amz-Signature", "00", MISMATCH),
    ],
)
def test_query_parameters(site, bucket, name, value, want):
    url = site.root.presign("GET", "/%s/old" % bucket)
    head, _, rest = url.partition(name + "=")
    old, mark, rest = rest.partition("&")
    r = raw_get(site, head + name + "=" + quote(value, "") + mark + rest, [])
    assert answer(r) == want, r
    assert b"the old object" not in r.body
    gone = head + rest if rest else head.rstrip("&")
    r = raw_get(site, gone, [])
    assert answer(r) == QUERY, r


@pytest.mark.parametrize("name", ["AWSAccessKeyId", "Signature", "Expires"])
def test_v2_query_parameters(site, bucket, name):
    url = presign_v2(site.root, "GET", "/%s/old" % bucket)
    assert raw_get(site, url, []).status == 200
    head, _, rest = url.partition(name + "=")
    old, _, rest = rest.partition("&")
    for value in (None, "", "9"):
        part = "" if value is None else name + "=" + value + "&"
        r = raw_get(site, head + part + rest, [])
        assert r.status == 403, (value, r)
        assert b"the old object" not in r.body


# --- time ---


def test_skew(site, bucket):
    target = "/%s/old" % bucket
    for seconds, want in ((-1000, SKEWED), (1000, SKEWED), (-800, 200), (800, 200)):
        r = site.root.get(target, now=utc(seconds))
        if want == 200:
            assert r.status == 200, (seconds, r)
            continue
        assert answer(r) == want, (seconds, r)
        assert tag(r, "RequestTime") and tag(r, "ServerTime"), r
        assert tag(r, "MaxAllowedSkewMilliseconds") == "900000"


@pytest.mark.parametrize("auth", ["v4", "v2"])
def test_date_headers(site, bucket, auth):
    target = "/%s/old" % bucket
    kw = {} if auth == "v4" else {"auth": "v2"}
    for value in ("", "never", "20200101T000000Z", "Mon, 01 Jan 2001 00:00:00 GMT"):
        r = site.root.get(target, [("x-amz-date", value)], **kw)
        assert r.status == 403, (value, r)
        assert r.code in ("AccessDenied", "RequestTimeTooSkewed"), r


def test_v2_skew(site, bucket):
    form = "%a, %d %b %Y %H:%M:%S GMT"
    for seconds, want in ((-1000, SKEWED), (1000, SKEWED), (0, None)):
        headers = [("Date", utc(seconds).strftime(form))]
        r = site.root.get("/%s/old" % bucket, headers, auth="v2")
        assert (answer(r) if want else r.status) == (want or 200), r


def test_scope_date_is_the_requests(site, bucket):
    target = "/%s/old" % bucket
    yesterday = utc(-86400).strftime("%Y%m%d")
    today = utc().strftime("%Y%m%d")
    r = raw_get(site, target, signed(site, target, lambda v: v.replace(today, yesterday)))
    assert answer(r) == MALFORMED, r
    url = site.root.presign("GET", target).replace(
        "%2F" + today + "%2F", "%2F" + yesterday + "%2F"
    )
    assert answer(raw_get(site, url, [])) == QUERY


def test_expiry(site, bucket):
    target = "/%s/old" % bucket
    # (signed at, for, answer)
    for at, expires, want in (
        (-11, 10, DENIED),
        (-86400, 60, DENIED),
        (-3600, 3700, None),
        (-604700, 604800, None),
        (1000, 600, DENIED),  # not valid yet
        (60, 600, None),  # clocks differ
    ):
        r = raw_get(site, site.root.presign("GET", target, expires, utc(at)), [])
        assert (answer(r) if want else r.status) == (want or 200), (at, expires, r)
    for expires, want in ((-1, DENIED), (60, None)):
        r = raw_get(site, presign_v2(site.root, "GET", target, expires=expires), [])
        assert (answer(r) if want else r.status) == (want or 200), (expires, r)


# --- signed headers (line 4) ---


@pytest.mark.parametrize(
    "header",
    [
        ("x-amz-copy-source", "/x/y"),
        ("X-Amz-Meta-A", "1"),
        ("x-amz-acl", "public-read"),
        ("x-amz-security-token", "t"),
        ("x-amz-content-sha256", EMPTY_SHA256),
        ("x-amz-", "1"),
    ],
)
def test_unsigned_amz_header(site, bucket, header):
    target = "/%s/old" % bucket
    url = site.root.presign("GET", target)
    assert answer(raw_get(site, url, [header])) == DENIED
    if header[0] == "x-amz-content-sha256":
        return
    headers = signed(site, target)
    assert answer(raw_get(site, target, headers + [header])) == DENIED


def test_cloudfront_header_may_be_unsigned(site, bucket):
    target = "/%s/old" % bucket
    extra = [("x-amz-cf-id", "abc")]
    assert raw_get(site, site.root.presign("GET", target), extra).status == 200
    assert raw_get(site, target, signed(site, target) + extra).status == 200


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-content-sha256"])
def test_must_be_signed(site, bucket, name):
    target = "/%s/old" % bucket
    r = raw_get(site, target, signed(site, target, unsigned=(name,)))
    assert answer(r) == DENIED, r


def test_host_is_what_was_signed(site, bucket):
    target = "/%s/old" % bucket
    headers = [h for h in signed(site, target) if h[0] != "Host"]
    c = site.root
    r = c.raw(c.encode("GET", target, [("Host", "elsewhere.example:80")] + headers))
    assert answer(r) == MISMATCH, r


# --- who (line 6) ---


def shape(r):
    """The names of the answer's headers and elements, without values."""
    import re

    names = [k.lower() for k, _ in r.headers]
    return r.status, sorted(names), re.findall(rb"<(\w+)>", r.body)


def test_same_shape_for_any_unknown_key(site, bucket):
    target = "/%s/old" % bucket
    shapes = set()
    for key in ("NOSUCHACCESSKEY00000", "x", "a" * 128, "a/b/c", "TESTROOTUSEr"):
        for secret in (site.root.secret, "", "x"):
            c = site.client(key, secret)
            r = c.get(target)
            assert answer(r) == (403, "InvalidAccessKeyId"), (key, r)
            shapes.add(str(shape(r)))
            r = c.get(target, auth="v2")
            assert answer(r) == (403, "InvalidAccessKeyId"), (key, r)
            c.close()
    assert len(shapes) == 1, shapes


def test_empty_key_and_empty_secret(site, bucket):
    target = "/%s/old" % bucket
    c = site.client("", site.root.secret)
    assert answer(c.get(target)) == MALFORMED
    assert answer(c.get(target, auth="v2")) == ARGUMENT
    c.close()
    c = site.client(site.root.access_key, "")
    assert answer(c.get(target)) == MISMATCH
    assert answer(c.get(target, auth="v2")) == MISMATCH
    c.close()


def test_session_token_of_nobody(site, bucket):
    """Nobody gives out tokens yet: none is right."""
    target = "/%s/old" % bucket
    token = [("x-amz-security-token", "FwoGZXIvYXdzEXAMPLE")]
    r = site.root.get(target, token)
    assert answer(r) == (400, "InvalidToken"), r
    url = site.root.presign("GET", target, params=[("X-Amz-Security-Token", "t")])
    assert answer(raw_get(site, url, [])) == (400, "InvalidToken")


def test_mismatch_explains_itself(site, bucket):
    """People debug with it: AWS's elements, and never the secret."""
    wrong = site.client(site.root.access_key, "not the secret at all")
    target = "/%s/old" % bucket
    r = wrong.get(target)
    assert answer(r) == MISMATCH
    assert tag(r, "AWSAccessKeyId") == site.root.access_key
    assert tag(r, "StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert tag(r, "CanonicalRequest").startswith("GET\n" + target + "\n\n")
    assert len(tag(r, "SignatureProvided")) == 64
    r = wrong.get(target, auth="v2")
    assert answer(r) == MISMATCH
    assert tag(r, "StringToSign").startswith("GET\n")
    r = wrong.head(target)
    assert r.status == 403 and r.body == b""
    wrong.close()


# --- V2's gaps ---


def test_v2_parameter_values_are_not_joined(site, bucket):
    """V2 signs values decoded and unescaped: `a=1&b=2` and `a=1%26b%3D2` give
    the same string. Who holds a URL for a part must not get one for the object.
    """
    upload, _ = site.upload(bucket, "old")
    target = "/%s/old?partNumber=1&uploadId=%s" % (bucket, upload)
    before = site.state(bucket)
    url = presign_v2(site.root, "PUT", target)
    forged = url.replace("partNumber=1&uploadId=", "partNumber=1%26uploadId%3D")
    r = site.root.request("PUT", forged, b"forged", auth="none")
    assert r.status in (400, 403), r
    forged = url.replace("partNumber=1&uploadId=", "response-expires=1%26uploadId%3D")
    r = site.root.request("PUT", forged, b"forged", auth="none")
    assert r.status in (400, 403), r
    assert site.state(bucket) == before


def test_v2_url_does_not_choose_another_operation(site, bucket):
    """Sub-resources that V2 does not sign select nothing in a V2 URL."""
    target = "/%s/old" % bucket
    for method, extra in (
        ("GET", "attributes"),
        ("GET", "retention"),
        ("GET", "legal-hold"),
    ):
        url = presign_v2(site.root, method, target) + "&" + extra
        r = site.root.request(method, url, auth="none")
        assert answer(r) == DENIED, (extra, r)
    for extra in ("policyStatus", "publicAccessBlock", "encryption"):
        url = presign_v2(site.root, "GET", "/" + bucket) + "&" + extra
        r = site.root.request("GET", url, auth="none")
        if extra != "encryption":
            assert answer(r) == DENIED, (extra, r)


def test_v2_url_honours_its_amz_parameters(site, bucket):
    """botocore moves x-amz-* headers into a V2 URL and signs them there: to
    ignore them would store in the clear what was to be encrypted."""
    for name, value in (
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-acl", "public-read"),
    ):
        url = presign_v2(
            site.root, "PUT", "/%s/clear" % bucket, params=[(name, value)]
        )
        r = site.root.request("PUT", url, b"secret", auth="none")
        assert answer(r) == (501, "NotImplemented"), (name, r)
    url = presign_v2(
        site.root,
        "PUT",
        "/%s/copy" % bucket,
        params=[("x-amz-copy-source", "/%s/src" % bucket)],
    )
    r = site.root.request("PUT", url, b"", auth="none")
    assert r.status == 200 and tag(r, "ETag"), r
    got = site.root.get("/%s/copy" % bucket)
    assert got.body == site.root.get("/%s/src" % bucket).body
    assert site.root.head("/%s/clear" % bucket).status == 404


@pytest.mark.parametrize("name", ["x-amz-signature", "X-AMZ-SIGNATURE", "X-Amz-signature"])
def test_case_of_a_parameter_changes_no_meaning(site, bucket, name):
    """The signature's own name is not signed: in another case the URL must
    mean the same, or nothing. (It once turned a copy into a PUT of any body.)"""
    params = [("x-amz-copy-source", "/%s/src" % bucket)]
    url = site.root.presign("PUT", "/%s/old" % bucket, params=params)
    url = url.replace("X-Amz-Signature", name)
    for body in (b"evil", b""):
        r = site.root.request("PUT", url, body, auth="none")
        got = site.root.get("/%s/old" % bucket).body
        assert got == (SRC if r.status == 200 else OLD), (r, got)
