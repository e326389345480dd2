// Layout of sealed bytes: version (1), mark of the key (4), salt (16), message number (8),
// ciphertext, tag (16).
//
// A GCM key must never be used twice with the same nonce. Random 96-bit nonces are safe for 2^32
// messages with one key only (NIST SP 800-38D, 8.3), which a busy cluster reaches. So each process
// draws a random salt once, derives a key of its own from it (HMAC-SHA-256 of the salt with the
// cluster's key), and uses a message counter as the nonce.
#include "securatlas/pg/net/sealing.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstring>
#include <memory>

#include "net/secret_key.hpp"
#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kMarkSize = 4;
constexpr std::size_t kSaltSize = 16;
constexpr std::size_t kNumberSize = 8;
constexpr std::size_t kTagSize = 16;
constexpr std::size_t kHeadSize = 1 + kMarkSize + kSaltSize + kNumberSize;
constexpr std::size_t kNonceSize = 12;

using Bytes = std::basic_string_view<char>;
using Salt = std::array<char, kSaltSize>;

struct FreeCipher {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

Error cipher_failed() { return Error("XX000", "encryption failed"); }

const unsigned char* in(const char* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }
unsigned char* out(char* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

SecretKey derive(Bytes text) {
    const SecretKey& key = secret_key();
    SecretKey derived;
    unsigned int size = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), in(text.data()), text.size(),
             derived.data(), &size) == nullptr) {
        throw cipher_failed();
    }
    return derived;
}

using Mark = std::array<char, kMarkSize>;

// The cipher for messages with one salt.
struct Session {
    bool is_ready = false;
    Salt salt{};
    std::uint64_t number = 0;
    EVP_CIPHER_CTX* cipher = nullptr;  // kept for the life of the process
};

void begin(Session& session, const Salt& salt, bool encrypt) {
    session.is_ready = false;
    if (session.cipher == nullptr) session.cipher = EVP_CIPHER_CTX_new();
    const SecretKey key = derive(Bytes(salt.data(), salt.size()));
    if (session.cipher == nullptr || EVP_CipherInit_ex(session.cipher, EVP_aes_256_gcm(), nullptr,
                                                       key.data(), nullptr, encrypt ? 1 : 0) != 1) {
        throw cipher_failed();
    }
    session.salt = salt;
    session.number = 0;
    session.is_ready = true;
}

struct Sessions {
    Session sealing;
    Session unsealing;
    int pid = 0;
    bool has_mark = false;
    Mark mark{};
};
constinit Sessions sessions;

// Identifies the key without revealing it.
const Mark& key_mark() {
    if (!sessions.has_mark) {
        const SecretKey derived = derive("securatlas_sched key mark");
        std::memcpy(sessions.mark.data(), derived.data(), sessions.mark.size());
        sessions.has_mark = true;
    }
    return sessions.mark;
}

// A forked process must not use the salt of its parent.
Sessions& own_sessions() {
    if (sessions.pid != MyProcPid) {
        sessions.sealing.is_ready = false;
        sessions.pid = MyProcPid;
    }
    return sessions;
}

void authenticate(EVP_CIPHER_CTX* cipher, Bytes head, const SealPurpose& purpose) {
    std::string text(head);
    text.append(purpose.kind).append(1, '\0').append(purpose.name);
    int size = 0;
    if (EVP_CipherUpdate(cipher, nullptr, &size, in(text.data()), static_cast<int>(text.size())) !=
        1) {
        throw cipher_failed();
    }
}

void set_nonce(EVP_CIPHER_CTX* cipher, Bytes number) {
    std::array<unsigned char, kNonceSize> nonce{};
    std::memcpy(nonce.data(), number.data(), number.size());
    if (EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data(), -1) != 1) {
        throw cipher_failed();
    }
}

void crypt(EVP_CIPHER_CTX* cipher, Bytes from, char* to) {
    int size = 0;
    if (!from.empty() && EVP_CipherUpdate(cipher, out(to), &size, in(from.data()),
                                          static_cast<int>(from.size())) != 1) {
        throw cipher_failed();
    }
}

}  // namespace

std::string seal(std::string_view plain, const SealPurpose& purpose) {
    Session& session = own_sessions().sealing;
    if (!session.is_ready) {
        Salt salt;
        if (!call([&salt] { return pg_strong_random(salt.data(), salt.size()); })) {
            throw Error("XX000", "could not get random bytes");
        }
        begin(session, salt, true);
    }
    const std::uint64_t number = session.number++;
    std::string sealed(kHeadSize + plain.size() + kTagSize, '\0');
    char* at = sealed.data();
    *at++ = kVersion;
    const Mark& mark = key_mark();
    at = std::copy(mark.begin(), mark.end(), at);
    at = std::copy(session.salt.begin(), session.salt.end(), at);
    std::memcpy(at, &number, kNumberSize);
    set_nonce(session.cipher, Bytes(at, kNumberSize));
    authenticate(session.cipher, Bytes(sealed.data(), kHeadSize), purpose);
    crypt(session.cipher, plain, sealed.data() + kHeadSize);
    int size = 0;
    std::array<unsigned char, 16> rest{};
    if (EVP_CipherFinal_ex(session.cipher, rest.data(), &size) != 1 ||
        EVP_CIPHER_CTX_ctrl(session.cipher, EVP_CTRL_GCM_GET_TAG, kTagSize,
                            sealed.data() + kHeadSize + plain.size()) != 1) {
        throw cipher_failed();
    }
    return sealed;
}

std::optional<std::string> unseal(std::string_view sealed, const SealPurpose& purpose) {
    if (sealed.size() < kHeadSize + kTagSize || sealed.front() != kVersion) return std::nullopt;
    const Mark& mark = key_mark();
    if (sealed.substr(1, kMarkSize) != Bytes(mark.data(), mark.size())) return std::nullopt;
    Salt salt;
    std::memcpy(salt.data(), sealed.data() + 1 + kMarkSize, salt.size());
    Session& session = own_sessions().unsealing;
    if (!session.is_ready || session.salt != salt) begin(session, salt, false);
    set_nonce(session.cipher, sealed.substr(1 + kMarkSize + kSaltSize, kNumberSize));
    authenticate(session.cipher, sealed.substr(0, kHeadSize), purpose);
    const std::size_t length = sealed.size() - kHeadSize - kTagSize;
    std::string plain(length, '\0');
    crypt(session.cipher, sealed.substr(kHeadSize, length), plain.data());
    std::string tag(sealed.substr(kHeadSize + length));
    int size = 0;
    std::array<unsigned char, 16> rest{};
    if (EVP_CIPHER_CTX_ctrl(session.cipher, EVP_CTRL_GCM_SET_TAG, kTagSize, tag.data()) != 1 ||
        EVP_CipherFinal_ex(session.cipher, rest.data(), &size) != 1) {
        OPENSSL_cleanse(plain.data(), plain.size());
        return std::nullopt;
    }
    return plain;
}

}  // namespace securatlas::pg
