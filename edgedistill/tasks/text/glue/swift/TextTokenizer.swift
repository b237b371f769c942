import Foundation

/// Gives a text's tokens, as the model was trained on them.
public protocol TextTokenizer: Sendable {
    /// The numbers of the tokens of `text`, with those in front and behind; as many as the model takes at most.
    func tokens(of text: String) throws -> [Int32]
}

/// Makes a tokenizer of the bytes of a `tokenizer.json`, which cuts texts at a number of tokens; what ends each text
/// stays. ``readTokenizer(_:length:)`` is one.
public typealias TokenizerReader = @Sendable (Data, Int) throws -> any TextTokenizer

/// The tokenizer of a `tokenizer.json` of Hugging Face: WordPiece with BERT's reading of texts (bert, distilbert,
/// electra, mpnet, MiniLM), or byte-level BPE (roberta).
///
/// - Throws: `ModelError.bundle` for any other kind, and for a file that is damaged.
@Sendable
public func readTokenizer(_ file: Data, length: Int) throws -> any TextTokenizer {
    let document = try TokenizerFile.read(file)
    let model = document["model"]
    let kind = model["type"].string ?? (model["merges"].isNull ? "WordPiece" : "BPE")
    let words: any WordReader =
        switch kind {
        case "WordPiece": try BertWords(document)
        case "BPE": try BytePairs(document)
        default: throw unknown("the model \(kind)")
        }
    let ends = try Ends(document["post_processor"])
    guard ends.front.count + ends.behind.count < length else {
        throw ModelError.bundle("found the length \(length), expected more than what ends each text")
    }
    let added = try AddedTokens(document["added_tokens"].list ?? [], words)
    return FileTokenizer(added: added, words: words, ends: ends, length: length)
}

/// The error for a tokenizer that this code cannot follow.
func unknown(_ found: String) -> ModelError {
    .bundle(
        "found \(found) in tokenizer.json, expected WordPiece as of BERT, or byte-level BPE as of RoBERTa: "
            + "give load() a TokenizerReader of your own, for example one that calls swift-transformers")
}

/// How one kind of tokenizer reads what is between special tokens.
protocol WordReader: Sendable {
    /// `text` without what the tokenizer does not see.
    func normalized(_ text: [Unicode.Scalar]) -> [Unicode.Scalar]

    /// Adds the tokens of a normalized text to `tokens`.
    func read(_ text: ArraySlice<Unicode.Scalar>, into tokens: inout [Int32]) throws
}

/// The tokens of a vocabulary, by their bytes.
func tokens(of model: TokenizerFile) throws -> [[UInt8]: Int32] {
    guard case .object(let entries) = model["vocab"] else { throw TokenizerFile.damaged("vocabulary") }
    return try entries.mapValues { try $0.asInteger("number of a token") }
}

private struct FileTokenizer: TextTokenizer {
    let added: AddedTokens
    let words: any WordReader
    let ends: Ends
    let length: Int

    func tokens(of text: String) throws -> [Int32] {
        var tokens: [Int32] = []
        for part in added.split(Array(text.unicodeScalars)) {
            switch part {
            case .token(let token): tokens.append(token)
            case .text(let text): try words.read(text, into: &tokens)
            }
        }
        let room = length - ends.front.count - ends.behind.count
        return ends.front + Array(tokens.prefix(room)) + ends.behind
    }
}

/// The tokens in front of a text and behind it.
private struct Ends {
    var front: [Int32] = []
    var behind: [Int32] = []

    init(_ processor: TokenizerFile) throws {
        switch processor["type"].string {
        case nil, "ByteLevel": break
        case "TemplateProcessing": try readTemplate(processor)
        case "BertProcessing", "RobertaProcessing":
            front = [try processor["cls"].list?.last?.asInteger("token in front") ?? 0]
            behind = [try processor["sep"].list?.last?.asInteger("token behind") ?? 0]
        case "Sequence":
            let steps = try (processor["processors"].list ?? []).map(Ends.init)
            let adding = steps.filter { !$0.front.isEmpty || !$0.behind.isEmpty }
            guard adding.count < 2 else { throw unknown("several post_processors that add tokens") }
            if let step = adding.first { self = step }
        case let kind?: throw unknown("the post_processor \(kind)")
        }
    }

    private mutating func readTemplate(_ processor: TokenizerFile) throws {
        let parts = processor["single"].list ?? []
        guard let place = parts.firstIndex(where: { !$0["Sequence"].isNull }) else {
            throw TokenizerFile.damaged("place for the text in the post_processor")
        }
        func tokens(_ parts: ArraySlice<TokenizerFile>) throws -> [Int32] {
            try parts.flatMap { part in
                let name = part["SpecialToken"]["id"].string ?? ""
                guard let ids = processor["special_tokens"][name]["ids"].list else {
                    throw TokenizerFile.damaged("numbers of the token \(name)")
                }
                return try ids.map { try $0.asInteger("number of the token \(name)") }
            }
        }
        front = try tokens(parts[..<place])
        behind = try tokens(parts[(place + 1)...])
    }
}
