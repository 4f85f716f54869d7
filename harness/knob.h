/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KNOB_H
#define KNOB_H

/* Write text to a file of /proc, sysfs or debugfs, which is there already. 0 or -errno. */
int write_knob(const char *path, const char *text);

#endif /* KNOB_H */
