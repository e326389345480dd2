// Whether what is written now was written somewhere else before.
#pragma once

namespace securatlas::pg {

// A logical replication worker writes, or a session that has said so
// (pg_replication_origin_session_setup): the rows are those of another server, which acts on them.
bool is_replicated_change();

// The same, or somebody loads rows: with COPY, or with session_replication_role = replica. Not of
// what the functions of the extension write.
bool is_loading();

// A function or process of the extension writes.
bool is_own_change();

}  // namespace securatlas::pg
