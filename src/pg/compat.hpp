// What differs between PostgreSQL 15 and 18. The only file that looks at PG_VERSION_NUM.
#pragma once

// Before 16 PGDLLEXPORT is empty, and the library is built with hidden visibility.
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
