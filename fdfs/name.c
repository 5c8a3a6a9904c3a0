/* fdfs/name.c - rules on remote file names, and the token of file URLs. */
#include "fdfs/name.h"

#include "lib/hash.h"

#include <inttypes.h>
#include <stdio.h>

static bool
is_upper_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static bool
is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if ((c < '0' || c > '9') && (c < 'A' || c > 'Z') &&
		    (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.')
			return false;
	}
	return true;
}

bool
fdfs_name_is_valid(struct str n)
{
	static const char pattern[] = "Mxx/xx/xx/";
	struct str last;

	if (n.len < FDFS_NAME_MIN || n.len > FDFS_REMOTE_MAX)
		return false;
	for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
		if (pattern[i] == 'x' ? !is_upper_hex(n.p[i])
				      : n.p[i] != pattern[i])
			return false;
	}
	last = str_skip(n, sizeof(pattern) - 1);
	return is_plain(last) && !str_eqz(last, ".") && !str_eqz(last, "..");
}

bool
fdfs_prefix_is_valid(struct str prefix)
{
	return prefix.len >= 1 && prefix.len <= FDFS_PREFIX_MAX &&
	       is_plain(prefix);
}

bool
fdfs_storage_id_is_valid(struct str id)
{
	for (size_t i = 0; i < id.len; i++) {
		if (id.p[i] <= ' ' || id.p[i] > '~')
			return false;
	}
	return id.len >= 1 && id.len < FDFS_ID_LEN;
}

bool
fdfs_name_kind(struct str name, enum fdfs_kind *ret)
{
	struct fdfs_file_id id;

	if (fdfs_remote_parse(name, &id, NULL) < 0)
		return false;
	if (id.size_field & FDFS_SIZE_TRUNK)
		*ret = FDFS_TRUNK;
	else if (id.size_field & FDFS_SIZE_APPENDER)
		*ret = FDFS_APPENDER;
	else
		*ret = fdfs_id_kind(&id);
	/* A slave of a trunk file: longer than 60, whatever its flags. */
	if (*ret != FDFS_APPENDER && id.tail.len != FDFS_TAIL)
		*ret = FDFS_SLAVE;
	return true;
}

int
fdfs_slave_name(struct str master, struct str prefix, struct str ext,
    char dst[FDFS_REMOTE_MAX + 1], size_t *ret_len, struct err *e)
{
	struct str tail, base = master;
	ptrdiff_t dot;
	size_t n;

	if (!fdfs_name_is_valid(master) || !fdfs_prefix_is_valid(prefix) ||
	    !fdfs_ext_is_valid(ext))
		return err_set(e, ERR_INVALID, "slave file: invalid name");
	if (ext.len == 0 && prefix.len >= 2 &&
	    memcmp(prefix.p + prefix.len - 2, "-m", 2) == 0)
		return err_set(e, ERR_INVALID,
		    "slave file: this is the name of the metadata");
	tail = str_skip(master, master.len - FDFS_TAIL);
	dot = str_chr(tail, '.');
	if (dot >= 0)
		base.len = master.len - FDFS_TAIL + (size_t)dot;
	n = base.len + prefix.len + (ext.len > 0 ? 1 + ext.len : 0);
	if (n > FDFS_REMOTE_MAX)
		return err_set(e, ERR_INVALID, "slave file: name too long");
	memcpy(dst, base.p, base.len);
	memcpy(dst + base.len, prefix.p, prefix.len);
	if (ext.len > 0) {
		dst[n - ext.len - 1] = '.';
		memcpy(dst + n - ext.len, ext.p, ext.len);
	}
	dst[n] = '\0';
	/* A master of dots can make one that leads out of its directory. */
	if (!fdfs_name_is_valid(str_mem(dst, n)))
		return err_set(e, ERR_INVALID, "slave file: invalid name");
	*ret_len = n;
	return 0;
}

int
fdfs_range(uint64_t size, uint64_t offset, uint64_t bytes, uint64_t *ret_len,
    struct err *e)
{
	if (offset >= size && (offset > 0 || size > 0))
		return err_set(e, ERR_INVALID, "offset past the end");
	*ret_len = size - offset;
	if (bytes > 0 && bytes < *ret_len)
		*ret_len = bytes;
	return 0;
}

void
fdfs_token(struct str name, struct str secret, int64_t ts,
    char dst[FDFS_TOKEN_LEN + 1])
{
	struct hash_values v;
	struct hashes h;
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, ts);

	hashes_init(&h, HASH_BIT(HASH_MD5));
	hashes_update(&h, name.p, name.len);
	hashes_update(&h, secret.p, secret.len);
	hashes_update(&h, text, (size_t)n);
	hashes_final(&h, &v);
	hex_encode(v.v[HASH_MD5], 16, dst);
	dst[FDFS_TOKEN_LEN] = '\0';
}

int
fdfs_token_check(struct str name, struct str secret, struct str token,
    struct str ts, int64_t now, int64_t ttl, struct err *e)
{
	char want[FDFS_TOKEN_LEN + 1];
	uint64_t t;

	if (token.len == 0 || ts.len == 0)
		return err_set(e, ERR_INVALID, "no token or no ts");
	if (!str_to_u64(ts, INT64_MAX, &t))
		return err_set(e, ERR_INVALID, "ts is no time");
	fdfs_token(name, secret, (int64_t)t, want);
	if (!str_eq_secret(token, str_mem(want, FDFS_TOKEN_LEN)))
		return err_set(e, ERR_ACCESS_DENIED, "wrong token");
	if (t > 0 && now > (int64_t)t && now - (int64_t)t > ttl)
		return err_set(e, ERR_ACCESS_DENIED, "expired token");
	return 0;
}
