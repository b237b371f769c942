/// Tokens such as `[MASK]` that are found in a text before it is divided into words.
struct AddedTokens: Sendable {
    /// A part of a text: a normalized one, or a token.
    enum Part {
        case text(ArraySlice<Unicode.Scalar>)
        case token(Int32)
    }

    private struct Added: Sendable {
        let id: Int32
        let text: [Unicode.Scalar]
        let alone: Bool
        let takesBlanksBefore: Bool
        let takesBlanksBehind: Bool
    }

    private let words: any WordReader
    /// Found in the text as it is.
    private var plain: [Added] = []
    /// Found in the normalized text.
    private var normalized: [Added] = []

    init(_ entries: [TokenizerFile], _ words: any WordReader) throws {
        self.words = words
        for entry in entries {
            guard let content = entry["content"].string else { throw TokenizerFile.damaged("text of an added token") }
            let later = entry["normalized"].flag ?? false
            let scalars = Array(content.unicodeScalars)
            let added = Added(
                id: try entry["id"].asInteger("number of an added token"),
                text: later ? words.normalized(scalars) : scalars, alone: entry["single_word"].flag ?? false,
                takesBlanksBefore: entry["lstrip"].flag ?? false, takesBlanksBehind: entry["rstrip"].flag ?? false)
            if later { normalized.append(added) } else { plain.append(added) }
        }
    }

    /// The parts of `text`, one after the other.
    func split(_ text: [Unicode.Scalar]) -> [Part] {
        parts(of: text, at: plain).flatMap { part -> [Part] in
            guard case .text(let text) = part else { return [part] }
            return parts(of: words.normalized(Array(text)), at: normalized)
        }
    }

    private func parts(of text: [Unicode.Scalar], at added: [Added]) -> [Part] {
        var parts: [Part] = []
        var (from, at) = (0, 0)
        while at < text.count {
            // Of those that begin here the longest, as everywhere.
            let here = added.filter { !$0.text.isEmpty && text[at...].starts(with: $0.text) }
            guard let found = here.max(by: { $0.text.count < $1.text.count }) else {
                at += 1
                continue
            }
            var (start, stop) = (at, at + found.text.count)
            at = stop
            let before = start > 0 && text[start - 1].isOfWord
            let behind = stop < text.count && text[stop].isOfWord
            if found.alone, before || behind { continue }
            if found.takesBlanksBefore { while start > from, text[start - 1].isBlank { start -= 1 } }
            if found.takesBlanksBehind { while stop < text.count, text[stop].isBlank { stop += 1 } }
            if start > from { parts.append(.text(text[from..<start])) }
            parts.append(.token(found.id))
            (from, at) = (stop, stop)
        }
        if from < text.count { parts.append(.text(text[from...])) }
        return parts
    }
}

extension Unicode.Scalar {
    var isBlank: Bool { properties.isWhitespace }

    var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    var isNumber: Bool {
        switch properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }

    fileprivate var isOfWord: Bool { isLetter || self == "_" || properties.generalCategory == .decimalNumber }
}

extension Sequence<Unicode.Scalar> {
    /// The same in UTF-8.
    var bytes: [UInt8] { flatMap { Array(UTF8.encode($0)!) } }
}
