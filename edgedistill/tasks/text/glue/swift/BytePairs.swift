/// Reads texts as GPT-2 and RoBERTa do: bytes of words, of which the pairs that were learned first become one token.
struct BytePairs: WordReader {
    private struct Pair: Hashable {
        let left: Int32
        let right: Int32
    }

    private struct Merge: Equatable {
        let rank: Int
        let token: Int32
    }

    private var merges: [Pair: Merge] = [:]
    /// The token of each byte.
    private let bytes: [Int32]
    private let prefixed: Bool

    init(_ document: TokenizerFile) throws {
        guard document["normalizer"].isNull else { throw unknown("BPE with a normalizer") }
        let (splitter, model) = (document["pre_tokenizer"], document["model"])
        guard splitter["type"].string == "ByteLevel", splitter["use_regex"].flag ?? true else {
            throw unknown("BPE with the pre_tokenizer \(splitter["type"].string ?? "null")")
        }
        let options = ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"]
        for key in options where !(model[key].isNull || model[key].bytes == [] || model[key].flag == false) {
            throw unknown("BPE with \(key)")
        }
        prefixed = splitter["add_prefix_space"].flag ?? true
        let vocabulary = try tokens(of: model)
        func token(_ text: [UInt8]) throws -> Int32 {
            guard let token = vocabulary[text] else {
                throw TokenizerFile.damaged("token \(String(decoding: text, as: UTF8.self))")
            }
            return token
        }
        bytes = try Self.characters.map { try token([$0].bytes) }
        for (rank, entry) in (model["merges"].list ?? []).enumerated() {
            let blank = UInt8(ascii: " ")
            let texts =
                entry.bytes?.split(separator: blank, maxSplits: 1).map(Array.init) ?? entry.list?.compactMap(\.bytes)
            guard let texts, texts.count == 2 else { throw TokenizerFile.damaged("pair of tokens in merges") }
            let pair = Pair(left: try token(texts[0]), right: try token(texts[1]))
            merges[pair] = Merge(rank: rank, token: try token(texts[0] + texts[1]))
        }
    }

    func normalized(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] { text }

    func read(_ text: ArraySlice<Unicode.Scalar>, into tokens: inout [Int32]) {
        let given = prefixed && text.first != " " ? [" "] + Array(text) : Array(text)
        var at = 0
        while at < given.count {
            let end = Self.endOfWord(given, at)
            tokens += merged(given[at..<end].bytes)
            at = end
        }
    }

    private func merged(_ word: [UInt8]) -> [Int32] {
        var tokens = word.map { bytes[Int($0)] }
        while tokens.count > 1 {
            let known = zip(tokens, tokens.dropFirst()).compactMap { merges[Pair(left: $0, right: $1)] }
            guard let best = known.min(by: { $0.rank < $1.rank }) else { break }
            var next: [Int32] = []
            for token in tokens {
                if let last = next.last, merges[Pair(left: last, right: token)] == best {
                    next[next.count - 1] = best.token
                } else {
                    next.append(token)
                }
            }
            tokens = next
        }
        return tokens
    }

    /// The character that stands for each byte: those that can be seen for themselves, others from 256 on.
    private static let characters: [Unicode.Scalar] = {
        var other: UInt32 = 255
        return (0..<256 as Range<UInt32>).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)!
            default:
                other += 1
                return Unicode.Scalar(other)!
            }
        }
    }()

    private static let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].map { Array($0.unicodeScalars) }

    /// Where the word ends that begins at `start`: an ending such as 's; letters, numbers or marks with a blank in
    /// front of them; or blanks, without the last one, which belongs to the next word.
    private static func endOfWord(_ text: [Unicode.Scalar], _ start: Int) -> Int {
        if let ending = contractions.first(where: { text[start...].starts(with: $0) }) { return start + ending.count }
        let first = text[start] == " " && start + 1 < text.count && !text[start + 1].isBlank ? start + 1 : start
        let kind = Kind(text[first])
        let end = text[first...].firstIndex { Kind($0) != kind } ?? text.count
        return kind == .blank && end < text.count && end - start > 1 ? end - 1 : end
    }

    private enum Kind {
        case letter, number, blank, mark

        init(_ scalar: Unicode.Scalar) {
            self = scalar.isLetter ? .letter : scalar.isNumber ? .number : scalar.isBlank ? .blank : .mark
        }
    }
}
