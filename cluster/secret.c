/* cluster/secret.c - see cluster/secret.h. */
#include "cluster/secret.h"

#include "lib/fs.h"
#include "lib/hash.h"

#include <unistd.h>

#define SECRET_MIN 16
#define SECRET_MAX 256
#define LABEL_MAX 64

int
secret_check(struct str secret, struct err *e)
{
	if (secret.len == 0)
		return err_set(e, ERR_CONFIG,
		    "no cluster secret: make one with `creel admin secret new "
		    "FILE` and name it in CREEL_CLUSTER_SECRET_FILE");
	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return err_set(e, ERR_CONFIG,
		    "the cluster secret has %zu characters, not %d to %d",
		    secret.len, SECRET_MIN, SECRET_MAX);
	return 0;
}

int
secret_cluster_id(struct str secret, const char *setting, struct id128 *ret,
    struct err *e)
{
	uint8_t mac[32];
	struct id128 id;

	if (setting != NULL && setting[0] != '\0') {
		if (!id128_parse(setting, strlen(setting), &id) ||
		    id128_is_zero(&id))
			return err_set(e, ERR_CONFIG,
			    "cluster_id is not 32 hex digits");
		*ret = id;
		return 0;
	}
	hmac_sha256(secret, STR_LIT("creel cluster id"), mac);
	memcpy(ret->b, mac, sizeof(ret->b));
	return 0;
}

int
secret_new(const char *path, struct err *e)
{
	uint8_t raw[32];
	char text[2 * sizeof(raw) + 1];
	struct err ignored;
	int fd, rc;

	rand_bytes(raw, sizeof(raw));
	hex_encode(raw, sizeof(raw), text);
	text[sizeof(text) - 1] = '\n';
	rc = fs_open(path, O_WRONLY | O_CREAT | O_EXCL, &fd, e);
	if (rc < 0)
		return rc;
	rc = fs_pwrite_all(fd, str_mem(text, sizeof(text)), 0, e);
	if (rc == 0)
		rc = fs_fsync(fd, e);
	fs_close(&fd);
	if (rc == 0)
		rc = fs_sync_parent(path, e);
	if (rc < 0)
		(void)fs_unlink(path, &ignored);
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(text, sizeof(text));
	return rc;
}

void
secret_proof(struct str secret, const char *label, struct str text,
    uint8_t dst[SECRET_PROOF])
{
	char small[LABEL_MAX + 1024];
	size_t n = strlen(label) + 1; /* the NUL ends it */

	MUST(n <= LABEL_MAX && text.len <= sizeof(small) - LABEL_MAX);
	memcpy(small, label, n);
	if (text.len > 0)
		memcpy(small + n, text.p, text.len);
	hmac_sha256(secret, str_mem(small, n + text.len), dst);
}
