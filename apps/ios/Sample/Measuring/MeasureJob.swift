import Foundation

/// The job that the host sends: `edgedistill bench FILE`, with the option `app`.
struct MeasureJob: Decodable, Sendable {
    /// How long to warm up and to sample.
    struct Bench: Decodable, Sendable {
        let warmupS: Double
        let relativeWidth: Double
        let minS: Double?
        let maxS: Double
        let minSamples: Int

        enum CodingKeys: String, CodingKey {
            case warmupS = "warmup_s"
            case relativeWidth = "relative_width"
            case minS = "min_s"
            case maxS = "max_s"
            case minSamples = "min_samples"
        }
    }

    private static let schema = 3
    private static let task = "run"

    let nonce: String
    let artifact: String
    let threads: Int
    let bench: Bench

    /// Reads JSON. Throws `MeasureError` that says what is wrong with it.
    static func parse(_ text: String) throws -> MeasureJob {
        struct Kind: Decodable {
            let schema: Int
            let task: String
        }
        let kind: Kind = try decode(text)
        guard kind.schema == schema, kind.task == task else {
            throw MeasureError(
                "found a job of schema \(kind.schema), task \(kind.task), expected schema \(schema), task \(task)")
        }
        return try decode(text)
    }

    /// Where to write, from the app's folder of documents: also of a job that is wrong elsewhere, so that the host
    /// learns what.
    static func out(of text: String) throws -> String {
        struct Place: Decodable { let out: String }
        let place: Place = try decode(text)
        let (folder, suffix) = ("edgedistill/", ".jsonl")
        let name = place.out.dropFirst(folder.count).dropLast(suffix.count)
        guard place.out == folder + name + suffix, !name.isEmpty, name.utf8.allSatisfy(Self.isHexadecimal) else {
            throw MeasureError("found the file \(place.out), expected edgedistill/NONCE.jsonl")
        }
        return place.out
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    private static func decode<Part: Decodable>(_ text: String) throws -> Part {
        do {
            return try JSONDecoder().decode(Part.self, from: Data(text.utf8))
        } catch let error as DecodingError {
            throw MeasureError("the job is not one of docs/devices.md: \(error)")
        }
    }
}

/// Why a measurement failed.
struct MeasureError: LocalizedError, CustomStringConvertible {
    let description: String
    var errorDescription: String? { description }

    init(_ description: String) {
        self.description = description
    }
}
