#include "securatlas/pg/border/json.hpp"

#include <algorithm>

#include "securatlas/pg/border/encoding.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
}

namespace securatlas::pg {
namespace {

struct Bytes {
    const char* data;
    std::size_t length;

    std::string text() const { return std::string(data, length); }
};

Bytes bytes_of(const char* text) { return {text, strlen(text)}; }

// A member of a JSON object, in PostgreSQL's memory.
struct RawMember {
    Bytes name;
    Bytes value;
    JsonMember::Kind kind;
};

struct RawObject {
    RawMember* members;  // null: not an object
    std::size_t count;
};

// C world.
RawMember raw_member(const JsonbValue& name, const JsonbValue& value) {
    using Kind = JsonMember::Kind;
    const Bytes key{name.val.string.val, static_cast<std::size_t>(name.val.string.len)};
    switch (value.type) {
        case jbvString:
            return {key,
                    {value.val.string.val, static_cast<std::size_t>(value.val.string.len)},
                    Kind::text};
        case jbvNumeric:
            return {key,
                    bytes_of(DatumGetCString(
                        DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)))),
                    Kind::number};
        case jbvBool:
            return {key, bytes_of(value.val.boolean ? "true" : "false"), Kind::boolean};
        case jbvBinary:
            return {key,
                    bytes_of(JsonbToCString(nullptr, value.val.binary.data, value.val.binary.len)),
                    Kind::nested};
        default:
            return {key, {"", 0}, Kind::null};
    }
}

// C world.
RawObject raw_object(Jsonb* json) {
    if (!JB_ROOT_IS_OBJECT(json)) return {nullptr, 0};
    const auto count = static_cast<std::size_t>(JB_ROOT_COUNT(json));
    auto* members = static_cast<RawMember*>(palloc(sizeof(RawMember) * (count + 1)));
    JsonbIterator* iterator = JsonbIteratorInit(&json->root);
    JsonbValue name;
    JsonbValue value;
    (void)JsonbIteratorNext(&iterator, &name, false);
    for (std::size_t i = 0; i < count; ++i) {
        (void)JsonbIteratorNext(&iterator, &name, false);
        (void)JsonbIteratorNext(&iterator, &value, true);
        members[i] = raw_member(name, value);
    }
    return {members, count};
}

// C world.
JsonbValue string_value(const std::string& text) {
    JsonbValue value;
    value.type = jbvString;
    value.val.string.val = const_cast<char*>(text.data());  // read only
    value.val.string.len = static_cast<int>(text.size());
    return value;
}

// The values of one header name, in order.
struct Group {
    std::string name;
    std::vector<std::string> values;
};

std::vector<Group> group(const std::vector<core::Header>& headers) {
    std::vector<Group> groups;
    for (const core::Header& header : headers) {
        auto found = std::find_if(groups.begin(), groups.end(), [&header](const Group& other) {
            return pg_strcasecmp(other.name.c_str(), header.name.c_str()) == 0;
        });
        if (found == groups.end()) {
            groups.push_back({valid_text(header.name), {}});
            found = groups.end() - 1;
        }
        found->values.push_back(valid_text(header.value));
    }
    return groups;
}

// C world.
void push_group(JsonbBuilder& builder, const Group& group) {
    JsonbValue name = string_value(group.name);
    builder.push(WJB_KEY, &name);
    if (group.values.size() == 1) {
        JsonbValue value = string_value(group.values.front());
        builder.push(WJB_VALUE, &value);
        return;
    }
    builder.push(WJB_BEGIN_ARRAY);
    for (const std::string& text : group.values) {
        JsonbValue value = string_value(text);
        builder.push(WJB_ELEM, &value);
    }
    builder.push(WJB_END_ARRAY);
}

}  // namespace

std::optional<std::vector<JsonMember>> read_json_object(Datum jsonb) {
    const RawObject raw = call([jsonb] { return raw_object(DatumGetJsonbP(jsonb)); });
    if (raw.members == nullptr) return std::nullopt;
    std::vector<JsonMember> members;
    members.reserve(raw.count);
    for (const RawMember& member : std::span(raw.members, raw.count)) {
        members.push_back({member.name.text(), member.value.text(), member.kind});
    }
    return members;
}

std::string json_as_utf8(Datum jsonb) {
    const Bytes bytes = call([jsonb] {
        Jsonb* json = DatumGetJsonbP(jsonb);
        char* text = JsonbToCString(nullptr, &json->root, VARSIZE(json));
        return bytes_of(pg_server_to_any(text, static_cast<int>(strlen(text)), PG_UTF8));
    });
    return bytes.text();
}

Datum headers_as_jsonb(const std::vector<core::Header>& headers) {
    const std::vector<Group> groups = group(headers);
    return call([&groups] {
        JsonbBuilder builder;
        builder.push(WJB_BEGIN_OBJECT);
        for (const Group& one : groups) push_group(builder, one);
        builder.push(WJB_END_OBJECT);
        return JsonbPGetDatum(builder.finish());
    });
}

}  // namespace securatlas::pg
