import Foundation

/// What the manifest says of texts only.
struct TextFacts: Decodable, Sendable {
    let preprocessing: Processing
    let goldenTexts: [GoldenText]?

    enum CodingKeys: String, CodingKey {
        case preprocessing
        case goldenTexts = "golden_texts"
    }

    struct Processing: Decodable, Sendable {
        let inputs: [String: Input]
    }

    struct Input: Decodable, Sendable {
        let kind: String
        let tokenizer: String?
        let length: Int?
        let buckets: [Int]?
        let padding: Int32
        let unknown: Int32?
    }

    /// A text of the bundle with the tokens that training makes of it.
    struct GoldenText: Decodable, Sendable {
        let text: String
        let tokens: [Int32]
    }
}

/// What a self-test of a model of texts found.
public struct TextSelfTest: Sendable {
    /// How far the outputs are from the golden ones.
    public let outputs: SelfTest
    /// Golden texts of the bundle that have other tokens here than in training.
    public let texts: [String]

    /// Whether all outputs and tokens are as expected.
    public var ok: Bool { outputs.ok && texts.isEmpty }

    /// The result in words, a line for each part.
    public func describe() -> String {
        let wrong = texts.map { "  text '\($0.prefix(40))': FAILED, it has other tokens than in training" }
        return ([outputs.describe()] + wrong).joined(separator: "\n")
    }
}

/// Makes the inputs of an artifact from a text: its tokens and their mask.
struct TextReader: Sendable {
    let facts: TextFacts
    private let tokenizer: any TextTokenizer
    private let tokensName: String
    private let maskName: String
    private let length: Int
    private let padding: Int32
    private let unknown: Int32?

    /// Reads how artifacts of a bundle take texts. Throws `ModelError.bundle` for a way that this code does not know.
    init(_ bundle: BundleFolder, _ artifact: Manifest.Artifact, _ tokenizers: TokenizerReader) throws {
        facts = try Manifest.decode(TextFacts.self, from: bundle.manifestData)
        let inputs = facts.preprocessing.inputs
        let (text, mask) = (inputs.first { $0.value.kind == "text" }, inputs.first { $0.value.kind == "mask" })
        guard let text, let mask, inputs.count == 2, let path = text.value.tokenizer, let length = text.value.length
        else {
            let kinds = inputs.values.map(\.kind).sorted().joined(separator: ", ")
            throw ModelError.bundle(
                "manifest.json: found inputs of the kinds \(kinds), expected text and mask: update the app's glue code")
        }
        // The files of this format have one size each, and fill up each text to it.
        let known = text.value.buckets ?? [length]
        var size = length
        for name in [text.key, mask.key] {
            let spec = artifact.signature.inputs.first { $0.name == name }
            guard let spec, spec.dtype == .int32, spec.shape.count == 2, spec.shape[0].fixed == 1,
                let own = spec.shape[1].fixed, known.contains(own)
            else {
                let expected = known.map(String.init).joined(separator: " or ")
                throw ModelError.bundle(
                    "manifest.json: found the input \(name) as \(spec?.description ?? "none"), "
                        + "expected int32[1, \(expected)]; get the bundle again")
            }
            size = own
        }
        guard let sha256 = bundle.manifest.files[path] else {
            throw ModelError.bundle("found no SHA-256 of \(path) in manifest.json; get the bundle again")
        }
        tokenizer = try tokenizers(try bundle.data(path, sha256: sha256), size)
        (tokensName, maskName, self.length, padding) = (text.key, mask.key, size, text.value.padding)
        unknown = text.value.unknown
    }

    /// The numbers of the tokens of `text`, at most as many as the model takes.
    func tokens(of text: String) throws -> [Int32] {
        let tokens = try tokenizer.tokens(of: text)
        guard tokens.count <= length else {
            throw ModelError.input("found \(tokens.count) tokens, expected at most \(length): let the tokenizer cut")
        }
        return tokens
    }

    /// How many tokens there are, and what share of them is unknown, where the tokenizer has a token for that.
    func features(of tokens: [Int32]) -> [String: Double] {
        var found = ["tokens": Double(tokens.count)]
        if let unknown {
            found["unknown"] = Double(tokens.filter { $0 == unknown }.count) / Double(max(1, tokens.count))
        }
        return found
    }

    /// The tokens of `text` and their mask, int32 [1, length] each.
    func tensors(of text: String) throws -> [String: Tensor] {
        let tokens = try tokens(of: text)
        let row = tokens + [Int32](repeating: padding, count: length - tokens.count)
        let mask = (0..<length).map { Int32($0 < tokens.count ? 1 : 0) }
        return [tokensName: try Tensor(row, shape: [1, length]), maskName: try Tensor(mask, shape: [1, length])]
    }

    /// The golden texts of the bundle that have other tokens here.
    func others() throws -> [String] {
        try (facts.goldenTexts ?? []).filter { try tokens(of: $0.text) != $0.tokens }.map(\.text)
    }
}
