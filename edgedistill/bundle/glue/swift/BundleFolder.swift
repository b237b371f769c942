import Foundation

#if canImport(CryptoKit)
import CryptoKit
#else
import Crypto  // swift-crypto, which has the same types elsewhere
#endif

/// A bundle on disk. Nothing of it is used before its SHA-256 was compared with the manifest's.
public struct BundleFolder: Sendable {
    /// The folder that `manifest.json` is in.
    public let url: URL
    public let manifest: Manifest
    /// The bytes of `manifest.json`.
    public let manifestData: Data

    /// Opens the bundle in `url`.
    ///
    /// - Parameters:
    ///   - url: The folder that `manifest.json` is in.
    ///   - publicKey: 32 bytes of an Ed25519 key. With it the bundle has to be signed by that key.
    /// - Throws: `ModelError.bundle`.
    public init(_ url: URL, publicKey: Data? = nil) throws {
        self.url = url
        guard let data = try? Data(contentsOf: url.appendingPathComponent("manifest.json")) else {
            throw ModelError.bundle("found no readable manifest.json in \(url.path), expected the folder of a bundle")
        }
        if let publicKey {
            try Self.checkSignature(of: data, in: url, publicKey)
        }
        manifestData = data
        manifest = try Manifest.read(data)
    }

    /// The SHA-256 of the manifest, in hexadecimal.
    public var manifestSHA256: String { Self.sha256(manifestData) }

    /// The place of a file or folder of the bundle, after each of its files was checked.
    ///
    /// - Throws: `ModelError.bundle` for an unsafe path, and for a file that is missing, not listed, or changed.
    public func checked(_ path: String) throws -> URL {
        let parts = manifest.files.filter { $0.key == path || $0.key.hasPrefix(path + "/") }
        guard !parts.isEmpty else {
            throw ModelError.bundle("found no SHA-256 of \(path) in manifest.json; get the bundle again")
        }
        for (part, expected) in parts.sorted(by: { $0.key < $1.key }) {
            _ = try data(part, sha256: expected)
        }
        return try safe(path)
    }

    /// The bytes of a file of the bundle, mapped into memory. Throws `ModelError.bundle` where it is missing or
    /// changed.
    public func data(_ path: String, sha256 expected: String) throws -> Data {
        let file = try safe(path)
        guard let data = try? Data(contentsOf: file, options: .mappedIfSafe) else {
            throw ModelError.bundle("\(path) is missing or can't be read; get the bundle again")
        }
        let found = Self.sha256(data)
        guard found == expected.lowercased() else {
            throw ModelError.bundle(
                "\(path) has the SHA-256 \(found.prefix(12)), expected \(expected.prefix(12)): "
                    + "it was changed or damaged; get the bundle again")
        }
        return data
    }

    /// The array in a .npy file of the bundle. Throws `ModelError.bundle` where it is missing, changed or damaged.
    public func array(_ file: Manifest.File) throws -> Tensor {
        try Tensor(npy: data(file.path, sha256: file.sha256), name: file.path)
    }

    /// The place of `path`, which has to stay in the bundle: relative, without `..`, and not through links.
    private func safe(_ path: String) throws -> URL {
        // By bytes: as characters, a slash with an accent behind it is no slash.
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let forbidden = [UInt8(ascii: "\\"), UInt8(ascii: ":"), 0]
        guard !parts.contains(where: { ["", ".", ".."].contains($0) }),
            !path.utf8.contains(where: { forbidden.contains($0) })
        else {
            throw ModelError.bundle(
                "manifest.json has the path '\(path)', expected a relative one without '..'; get the bundle again")
        }
        var place = url
        for part in parts {
            place.appendPathComponent(part)
            let kind = try? FileManager.default.attributesOfItem(atPath: place.path)[.type] as? FileAttributeType
            guard kind != .typeSymbolicLink else {
                throw ModelError.bundle(
                    "\(path) leads through a link, expected a file of the bundle; get the bundle again")
            }
        }
        return place
    }

    private static func checkSignature(of manifest: Data, in url: URL, _ publicKey: Data) throws {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey) else {
            throw ModelError.bundle(
                "found a public key of \(publicKey.count) bytes, expected the 32 bytes of an Ed25519 key")
        }
        guard let signature = try? Data(contentsOf: url.appendingPathComponent("manifest.sig")) else {
            throw ModelError.bundle(
                "found no manifest.sig, expected a signed bundle: sign it, or load it without a public key")
        }
        guard signature.count == 64, key.isValidSignature(signature, for: manifest) else {
            throw ModelError.bundle(
                "manifest.sig is not a signature of manifest.json by this public key: do not use the bundle")
        }
    }

    private static func sha256(_ data: Data) -> String {
        SHA256.hash(data: data).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
