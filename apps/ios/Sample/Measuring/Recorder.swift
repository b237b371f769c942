import Foundation

#if canImport(CryptoKit)
import CryptoKit
#else
import Crypto  // swift-crypto, which has the same types elsewhere
#endif

/// Writes records to a file: a JSON object a line, each written at once.
actor Recorder {
    private let url: URL
    private let file: FileHandle
    private let encoder = JSONEncoder()
    private var lines = 0

    /// Removes what lies in the folder of `url`: records and jobs of earlier measurements.
    init(_ url: URL) throws {
        let (files, folder) = (FileManager.default, url.deletingLastPathComponent())
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        for old in try files.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            try files.removeItem(at: old)
        }
        try Data().write(to: url)
        self.url = url
        file = try FileHandle(forWritingTo: url)
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    /// Writes a record with its type first, and the fields in their order.
    func write(_ type: String, _ fields: KeyValuePairs<String, any Encodable & Sendable>) throws {
        var parts = ["\"type\":\(try json(type))"]
        for (name, value) in fields {
            parts.append("\(try json(name)):\(try json(value))")
        }
        try file.write(contentsOf: Data("{\(parts.joined(separator: ","))}\n".utf8))
        lines += 1
    }

    /// The last record, by which the host knows that it has all of them, unchanged.
    func end(nonce: String) throws {
        let digest = SHA256.hash(data: try Data(contentsOf: url, options: .mappedIfSafe))
        let sha256 = digest.map { String(format: "%02x", $0) }.joined()
        try write("end", ["nonce": nonce, "records": lines, "sha256": sha256])
        try file.synchronize()
    }

    private func json(_ value: any Encodable) throws -> String {
        String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
