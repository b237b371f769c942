import Foundation

/// What `manifest.json` says of a bundle, as far as every task needs it.
public struct Manifest: Decodable, Sendable {
    /// The version of the manifest that this code reads.
    public static let supportedSchema = "edgedistill/manifest/3"

    public let name: String
    public let task: String
    public let ship: Ship
    public let artifacts: [Artifact]
    /// SHA-256 of every file of the bundle, by its path in it.
    public let files: [String: String]

    /// Which artifact to take.
    public struct Ship: Decodable, Sendable {
        /// Names of artifacts, the best first.
        public let order: [String]
    }

    /// A model file, or a folder that is one model.
    public struct Artifact: Decodable, Sendable {
        /// Its path in the bundle.
        public let name: String
        public let format: String
        public let precision: String
        /// What the file was made for, where it was made for one processor or library only.
        public let delegate: String?
        public let sha256: String
        public let signature: Signature
        /// The oldest version that loads it, by the name of the runtime.
        public let minimumRuntime: [String: String]
        /// The oldest operating systems, by name (`ios`, `macos`).
        public let minimumOS: [String: String]?
        public let golden: Golden

        enum CodingKeys: String, CodingKey {
            case name, format, precision, delegate, sha256, signature, golden
            case minimumRuntime = "minimum_runtime"
            case minimumOS = "minimum_os"
        }
    }

    /// What goes into an artifact and what comes out, in the order of the file.
    public struct Signature: Decodable, Sendable {
        public let inputs: [TensorSpec]
        public let outputs: [TensorSpec]
    }

    /// One named tensor.
    public struct TensorSpec: Decodable, Sendable, CustomStringConvertible {
        public let name: String
        public let dtype: Tensor.DType
        public let shape: [Dimension]

        public var description: String { "\(dtype.rawValue)[\(shape.map(\.description).joined(separator: ", "))]" }

        /// Whether `tensor` has the type and the sizes of this one; a size that varies may have any value.
        public func matches(_ tensor: Tensor) -> Bool {
            tensor.dtype == dtype && tensor.shape.count == shape.count
                && zip(shape, tensor.shape).allSatisfy { $0.fixed == nil || $0.fixed == $1 }
        }
    }

    /// A size, or the name of one that varies.
    public enum Dimension: Decodable, Sendable, CustomStringConvertible {
        case size(Int)
        case varying(String)

        /// The size; nil where it varies.
        public var fixed: Int? {
            if case .size(let size) = self { size } else { nil }
        }

        public var description: String {
            switch self {
            case .size(let size): String(size)
            case .varying(let name): name
            }
        }

        public init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let size = try? value.decode(Int.self) {
                self = .size(size)
            } else {
                self = .varying(try value.decode(String.self))
            }
        }
    }

    /// Samples as an artifact takes them, and what it gave for them where it was exported.
    public struct Golden: Decodable, Sendable {
        public let count: Int
        public let inputs: [String: File]
        /// nil where nothing on the exporting machine could execute the artifact.
        public let outputs: [String: File]?
        /// The largest difference allowed, by output.
        public let tolerance: [String: Double]
    }

    /// A file of the bundle.
    public struct File: Decodable, Sendable {
        public let path: String
        public let sha256: String
    }

    /// The manifest in `data`. Throws `ModelError.bundle` where it is damaged or of another schema.
    public static func read(_ data: Data) throws -> Manifest {
        struct Header: Decodable { let schema: String }
        let found = try decode(Header.self, from: data).schema
        guard found == supportedSchema else {
            let parts = found.split(separator: "/", omittingEmptySubsequences: false)
            let newer = found.hasPrefix("edgedistill/manifest/") && (Int(parts[parts.count - 1]) ?? 0) > 3
            let advice = newer ? "update the app's glue code" : "export the bundle again with the present edgedistill"
            throw ModelError.bundle("manifest.json: found \(found), this code reads \(supportedSchema): \(advice)")
        }
        return try decode(Manifest.self, from: data)
    }

    /// A part of the manifest that only one task has. Throws `ModelError.bundle` where it is missing or damaged.
    public static func decode<Part: Decodable>(_ type: Part.Type, from data: Data) throws -> Part {
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch let error as DecodingError {
            throw ModelError.bundle("manifest.json is damaged: \(describe(error)); get the bundle again")
        }
    }

    private static func describe(_ error: DecodingError) -> String {
        func path(_ keys: [any CodingKey]) -> String {
            keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context): return "found no \(path(context.codingPath + [key]))"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return context.codingPath.isEmpty
                ? "found no JSON object" : "found another value in \(path(context.codingPath))"
        @unknown default: return "\(error)"
        }
    }
}
