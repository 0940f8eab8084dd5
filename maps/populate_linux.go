package maps

import "golang.org/x/sys/unix"

// mapPopulate has the kernel provide the memory in one go, rather than page by
// page as it is filled.
const mapPopulate = unix.MAP_POPULATE
