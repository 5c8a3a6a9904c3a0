/* storage/files/regenerate.c - an appender becomes a normal file of another name.
 *
 * Two names change, and one decides: the list. The new name is drawn first and
 * noted in the list, as its successor, by a version of its own; only then is the
 * content copied to it, and at the end the list is deleted, on condition that it
 * still is that version. So
 * R1  While the list lives the successor counts for nothing, and was told nobody.
 *     Who finds one (the next change or delete of the list, the sweep) undoes
 *     it. With the list gone the successor is the file.
 * R2  Undoing writes a version of the list first: a regeneration that still is
 *     under way, of a leader before, then can't delete the list any more, and
 *     nothing is taken from it that could yet become the file.
 * R3  One that failed undoes itself if it can; what a stop leaves behind is there
 *     for R1.
 * R4  Where the last step ends without an outcome (no majority answered), it is
 *     looked for, for FILES_WAIT_MS: the list gone and the successor there, as a
 *     majority has them, is done, and said so. Else it was undone, or nobody knows.
 * Threads: any, with the name's turn. */
#include "storage/files/files_int.h"

#define LOOK_MS 200

static void
extension(struct str name, char ret[FDFS_EXT_MAX + 1])
{
	struct str tail =
	    name.len > FDFS_TAIL ? str_skip(name, name.len - FDFS_TAIL) : name;
	ptrdiff_t dot = str_rchr(tail, '.');
	struct str ext = dot < 0 ? STR_NULL : str_skip(tail, (size_t)dot + 1);

	if (ext.len > FDFS_EXT_MAX)
		ext.len = 0;
	if (ext.len > 0)
		memcpy(ret, ext.p, ext.len);
	ret[ext.len] = '\0';
}

/* --- undoing --- */

int
files_settle(struct files *f, struct draft *d, struct err *e)
{
	struct str id = str_of(d->list.successor);
	int rc;

	if (id.len == 0)
		return 0;
	rc = draft_write(f, d, false, e); /* R2 */
	if (rc == 0)
		rc = rep_delete_many(f->rep, &id, 1, e);
	if (rc == 0)
		rc =
		    files_delete_meta(f, files_remote(f, d->list.successor), e);
	if (rc == 0)
		d->list.successor[0] = '\0';
	return rc;
}

/* With the name's turn. */
static int
settle_here(struct files *f, struct str name, struct err *e)
{
	struct draft d;
	int rc = draft_open(f, name, &d, e);
	bool is_due = rc == 0 && d.list.successor[0] != '\0';

	if (is_due)
		rc = files_settle(f, &d, e);
	if (is_due && rc == 0)
		rc = draft_write(f, &d, false, e);
	else if (rc == 0)
		rc = err_set(e, ERR_NOT_FOUND, NULL);
	draft_close(f, &d, ERR_BUSY);
	return rc;
}

int
files_settle_name(struct files *f, struct str name, struct err *e)
{
	struct files_turn *t = NULL;
	int rc = files_turn_take(f, name, &t, e);

	if (rc < 0)
		return rc;
	rc = settle_here(f, name, e);
	files_turn_give(f, &t);
	return rc;
}

/* --- doing --- */

/* R4. With the name's turn. True: it was done. */
static bool
was_done(struct files *f, struct str name, const char *successor)
{
	int64_t limit = files_now_ms(f) + f->wait_ms;
	struct engine_file_info info;
	int rc;

	for (;;) {
		rc = settle_here(f, name, NULL);
		if (rc == 0)
			return false;
		/* Another leader's undoing has deleted it first (R2). */
		if (rc == ERR_NOT_FOUND)
			rc = rep_read_newest(f->rep, str_of(successor), &info,
			    NULL, NULL);
		if (rc == 0)
			return true;
		if (rc == ERR_NOT_FOUND || rc == ERR_CLOSED ||
		    files_now_ms(f) >= limit ||
		    !f->env.ops->sleep(f->env.env, LOOK_MS))
			return false;
	}
}

/* Draws the name and notes it. */
static int
begin(struct files *f, struct draft *d, const struct engine_owner *o,
    int path_no, struct engine_record *ret, struct err *e)
{
	char ext[FDFS_EXT_MAX + 1];
	uint32_t crc32;
	int rc = files_list_crc32(f, &d->list, &crc32, e);

	extension(d->name, ext);
	if (rc == 0)
		rc = f->env.store_ops->draw(f->env.store, o, path_no,
		    d->list.size, crc32, ext, 0, ret, e);
	if (rc < 0)
		return rc;
	memcpy(d->list.successor, ret->info.id, strlen(ret->info.id) + 1);
	return draft_write(f, d, false, e);
}

int
files_regenerate_here(struct files *f, const struct files_op *op,
    struct engine_file_info *ret, struct err *e)
{
	struct str name = op->name;
	struct engine_owner o = { .class = ENGINE_CLASS_FASTDFS };
	struct engine_record rec;
	struct engine_file_info info;
	struct fdfs_file_id id;
	struct draft d;
	bool has_begun, is_open = false;
	int rc = files_must_be_appender(name, e);

	if (rc == 0)
		rc = fdfs_remote_parse(name, &id, e);
	if (rc < 0)
		return rc;
	rc = draft_open(f, name, &d, e);
	d.until_ms = op->until_ms; /* F6 */
	if (rc == 0)
		rc = files_settle(f, &d, e);
	if (rc == 0)
		rc = begin(f, &d, &o, id.path, &rec, e);
	has_begun = rc == 0;
	d.until_ms = 0; /* the copy may take long */
	if (rc == 0)
		rc = files_copy_as(f, &d.list, &rec, &o, id.path, &info, e);
	if (rc == 0)
		rc = files_copy_meta(f, name, files_remote(f, info.id), e);
	if (rc == 0) {
		rc = draft_delete(f, &d, e);
		is_open = rc < 0 && rc != ERR_RETRY && rc != ERR_CLOSED &&
		          !files_is_final(rc);
	}
	draft_close(f, &d, ERR_BUSY);
	if (is_open && was_done(f, name, info.id))
		rc = 0;
	else if (rc < 0 && has_begun && !is_open)
		(void)settle_here(f, name, NULL); /* R3 */
	if (rc == 0) {
		(void)files_delete_meta(f, name, NULL);
		*ret = info;
	}
	return rc;
}
