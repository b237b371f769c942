import Foundation

/// Reads texts as BERT does: words and marks, then the longest pieces of each word that the vocabulary has.
struct BertWords: WordReader {
    private let vocabulary: [[UInt8]: Int32]
    private let cleans: Bool
    private let parts: Bool
    private let lowers: Bool
    private let strips: Bool
    private let unknownToken: Int32
    private let prefix: [UInt8]
    private let longest: Int

    init(_ document: TokenizerFile) throws {
        let normalizer = document["normalizer"]
        for (key, expected) in [("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")] {
            let found = document[key]["type"].string
            guard found == expected else { throw unknown("WordPiece with the \(key) \(found ?? "null")") }
        }
        let model = document["model"]
        vocabulary = try tokens(of: model)
        cleans = normalizer["clean_text"].flag ?? true
        parts = normalizer["handle_chinese_chars"].flag ?? true
        lowers = normalizer["lowercase"].flag ?? true
        strips = normalizer["strip_accents"].flag ?? lowers
        prefix = model["continuing_subword_prefix"].bytes ?? [UInt8]("##".utf8)
        longest = model["max_input_chars_per_word"].integer.map(Int.init) ?? 100
        let unknownText = model["unk_token"].bytes ?? [UInt8]("[UNK]".utf8)
        guard let token = vocabulary[unknownText] else { throw TokenizerFile.damaged("token for unknown words") }
        unknownToken = token
    }

    func normalized(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var cleaned: [Unicode.Scalar] = []
        for scalar in text {
            if cleans, scalar.value == 0 || scalar.value == 0xFFFD || scalar.isControl { continue }
            if cleans, scalar.isBlank {
                cleaned.append(" ")
            } else if parts, scalar.isIdeograph {
                cleaned += [" ", scalar, " "]
            } else {
                cleaned.append(scalar)
            }
        }
        if strips {
            let text = String(String.UnicodeScalarView(cleaned)).decomposedStringWithCanonicalMapping
            cleaned = text.unicodeScalars.filter { $0.properties.generalCategory != .nonspacingMark }
        }
        // Each character by itself: a whole text would get another sigma at the end of a Greek word.
        return lowers ? cleaned.flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) } : cleaned
    }

    func read(_ text: ArraySlice<Unicode.Scalar>, into tokens: inout [Int32]) {
        var word: [Unicode.Scalar] = []
        func endWord() {
            if !word.isEmpty { readWord(word, &tokens) }
            word = []
        }
        for scalar in text {
            if scalar.isMark {
                endWord()
                readWord([scalar], &tokens)
            } else if scalar.isBlank {
                endWord()
            } else {
                word.append(scalar)
            }
        }
        endWord()
    }

    /// Takes the longest pieces from left to right; a word with a part that is in no piece is unknown as a whole.
    private func readWord(_ word: [Unicode.Scalar], _ tokens: inout [Int32]) {
        let known = tokens.count
        var start = word.count > longest ? -1 : 0
        while start >= 0, start < word.count {
            let end = stride(from: word.count, to: start, by: -1).first { end in
                let piece = word[start..<end].bytes
                guard let token = vocabulary[start > 0 ? prefix + piece : piece] else { return false }
                tokens.append(token)
                return true
            }
            start = end ?? -1
        }
        if start < 0 { tokens.replaceSubrange(known..., with: [unknownToken]) }
    }
}

extension Unicode.Scalar {
    fileprivate var isControl: Bool {
        switch properties.generalCategory {
        case .control: !["\t", "\n", "\r"].contains(self)
        case .format, .privateUse, .surrogate: true
        default: false
        }
    }

    fileprivate var isMark: Bool {
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            true
        default: ["$", "+", "<", "=", ">", "^", "`", "|", "~"].contains(self)
        }
    }

    /// Whether BERT takes it for a word of its own.
    fileprivate var isIdeograph: Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }
}
