/* SPDX-License-Identifier: GPL-2.0-only */
/* The records that the stream parser of parser.bpf.c takes a stream apart into. */
#ifndef RECORDS_H
#define RECORDS_H

#include <linux/types.h>

/* What the verdict on a record is to be. */
enum record_way {
	RECORD_PASS,
	RECORD_REDIRECT, /* to key 0 of out_map */
	RECORD_DROP,
};

/* Begins each of them. */
struct record {
	__be32 len; /* of all of it, or what the parser is to return: 0, or an error */
	__be32 way;
};

/* What the programs have seen. */
struct parsing {
	__u64 calls;	       /* of the parser */
	__u64 records;	       /* that got a verdict: counts up last of all */
	__u64 sum;	       /* of their last bytes */
	__u64 incomplete;      /* of them were not all there */
	__u64 changed_headers; /* of them began otherwise than for the parser */
	__u64 changed_cb;      /* of them had another cb[] than for the parser */
};

#endif /* RECORDS_H */
