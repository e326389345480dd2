// Whether the rows being written are copies of rows of another server or of a dump.
#pragma once

namespace securatlas::pg {

// True in a logical replication worker, and in a session that has called
// pg_replication_origin_session_setup(): the rows are copies of rows of another server, which acts
// on them.
bool is_replicated_change();

// True if is_replicated_change() is, and while rows are loaded with COPY or with
// session_replication_role = replica. False for what the functions of the extension write.
bool is_loading();

// True while a function or process of the extension writes.
bool is_own_change();

}  // namespace securatlas::pg
