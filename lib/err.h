/* lib/err.h - one table of errors, and the caller's record of one.
 *
 * A function that can fail returns 0 or a negative code from the table in
 * lib/err_table.h, and puts the details into the caller's `struct err`. The
 * table gives each code its name, the HTTP status and S3 code that a client
 * sees, and a default text. S3 codes are those of the S3 API reference
 * ("List of error codes"). Threads: any; a struct err belongs to its caller. */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum err_code {
	ERR_OK = 0,
#define X(name, status, s3, text) ERR_POS_##name,
#include "lib/err_table.h"
#undef X
	ERR_POSITIONS
};

enum {
#define X(name, status, s3, text) ERR_##name = -(int)ERR_POS_##name,
#include "lib/err_table.h"
#undef X
};

struct err {
	int code;      /* 0 or ERR_* (negative) */
	int sys_errno; /* errno behind it, 0 when there is none */
	char msg[240]; /* what, on which object; always terminated */
};

#define ERR_INIT ((struct err){ 0 })

/* Fills @e (which may be NULL) and returns @code, so that a failing branch is
 * `return err_set(e, ERR_X, "...")`. @fmt may be NULL: the table's text. */
int err_set(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: maps @sys_errno (ENOSPC and EDQUOT to
 * ERR_NO_SPACE, ENOMEM to ERR_NO_MEMORY, ENOENT to ERR_NOT_FOUND, else ERR_IO)
 * and appends strerror. */
int err_set_errno(struct err *e, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const char *err_name(int code);    /* "NO_SPACE" */
const char *err_text(int code);    /* default text */
int err_http_status(int code);     /* 507 */
const char *err_s3_code(int code); /* "InternalError" when it has no own */

/* A broken invariant: prints and aborts, in every build. Never for input,
 * memory or I/O. */
#define MUST(x) ((x) ? (void)0 : must_failed(#x, __FILE__, __LINE__, __func__))
_Noreturn void must_failed(const char *expr, const char *file, int line,
    const char *func);

/* Objects carry a magic word as first member, checked at every entry. */
#define OBJ_CHECK(p, m) MUST((p) != NULL && (p)->magic == (m))

#endif
