import Foundation

#if canImport(CryptoKit)
import CryptoKit
#else
import Crypto  // swift-crypto, which has the same types elsewhere
#endif

/// `index.json` of a repository of updates.
struct UpdatesIndex: Decodable {
    static let supportedSchema = "edgedistill/updates/1"

    let serial: Int
    let releases: [Release]

    /// A file of the repository.
    struct File: Decodable, Sendable {
        let file: String
        let sha256: String
        let bytes: Int

        /// A hash becomes the name of a file, so nothing else may be there.
        var isSound: Bool { isHash(sha256) && bytes > 0 }
    }

    /// What makes the .zip of a release of the older one whose SHA-256 is `base`.
    struct Delta: Decodable, Sendable {
        let base: String
        let remote: File

        enum CodingKeys: CodingKey { case base }

        init(from decoder: any Decoder) throws {
            base = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .base)
            remote = try File(from: decoder)
        }
    }

    /// A bundle that was published.
    struct Release: Decodable, Sendable {
        let number: Int
        let archive: File
        let percent: Double
        let minimumApp: String?
        let withdrawn: Bool
        let deltas: [Delta]

        enum CodingKeys: String, CodingKey {
            case number, percent, withdrawn, deltas
            case minimumApp = "minimum_app"
        }

        init(from decoder: any Decoder) throws {
            let entry = try decoder.container(keyedBy: CodingKeys.self)
            number = try entry.decode(Int.self, forKey: .number)
            archive = try File(from: decoder)
            percent = try entry.decode(Double.self, forKey: .percent)
            minimumApp = try entry.decodeIfPresent(String.self, forKey: .minimumApp)
            withdrawn = try entry.decodeIfPresent(Bool.self, forKey: .withdrawn) ?? false
            deltas = try entry.decodeIfPresent([Delta].self, forKey: .deltas) ?? []
        }

        /// Whether it is for this installation of an app of this version.
        func fits(_ installation: String, _ appVersion: String) -> Bool {
            if withdrawn { return false }
            if let minimumApp, isOlder(appVersion, than: minimumApp) { return false }
            return Updater.share(of: installation, release: number) < percent
        }
    }

    /// The index in `data`, which messages call `name`. Throws `ModelError.bundle` where it is damaged or newer.
    static func read(_ data: Data, name: String) throws -> UpdatesIndex {
        struct Header: Decodable { let schema: String }
        let damaged = "\(name) is damaged"
        guard let found = try? JSONDecoder().decode(Header.self, from: data).schema else {
            throw ModelError.bundle("\(damaged), it has no schema; try again later")
        }
        guard found == supportedSchema else {
            throw ModelError.bundle("found \(found.prefix(100)), this code reads \(supportedSchema): update the app")
        }
        guard let index = try? JSONDecoder().decode(UpdatesIndex.self, from: data),
            index.releases.allSatisfy({ release in
                release.number > 0 && release.archive.isSound
                    && release.deltas.allSatisfy { isHash($0.base) && $0.remote.isSound }
            })
        else {
            throw ModelError.bundle("\(damaged), it lacks an entry or has a wrong one; try again later")
        }
        return index
    }

    /// Throws `ModelError.bundle` unless `signature` is that of the index in `data` by the owner of `publicKey`.
    static func check(_ data: Data, signature: Data, _ publicKey: Data, name: String) throws {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey), signature.count == 64,
            key.isValidSignature(signature, for: data)
        else {
            throw ModelError.bundle(
                "\(name) is not the signature of index.json by this key; nothing was changed, try again later")
        }
    }
}

extension Updater {
    /// Where an installation stands among all for a release, 0 to 100: a release for 10 percent comes to those below
    /// 10.
    public static func share(of installation: String, release number: Int) -> Double {
        let digest = SHA256.hash(data: Data("\(installation):\(number)".utf8))
        let first = Array(digest).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        return 100 * Double(first) / 4_294_967_296
    }
}

/// The SHA-256 of `data` in hexadecimal.
func hexadecimalSHA256(_ data: Data) -> String {
    let digits = Array("0123456789abcdef")
    return String(SHA256.hash(data: data).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

private func isHash(_ text: String) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
}
