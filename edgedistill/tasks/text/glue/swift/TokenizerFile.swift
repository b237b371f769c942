import Foundation

/// JSON whose keys are compared byte by byte.
///
/// For Swift and Foundation two texts are equal that look the same, such as an accent in one character and in two. In a
/// vocabulary they are two tokens.
enum TokenizerFile: Sendable {
    case object([[UInt8]: TokenizerFile])
    case array([TokenizerFile])
    case text([UInt8])
    case number(Double)
    case flag(Bool)
    case null

    /// Reads JSON in UTF-8. Throws `ModelError.bundle` where it is damaged.
    static func read(_ data: Data) throws -> TokenizerFile {
        var parser = Parser(bytes: [UInt8](data))
        let value = try parser.value(depth: 0)
        parser.skipBlanks()
        guard parser.at == parser.bytes.count else { throw parser.damaged() }
        return value
    }

    /// The value at `key`; null where there is none, or where this is no object.
    subscript(key: String) -> TokenizerFile {
        if case .object(let values) = self { values[[UInt8](key.utf8)] ?? .null } else { .null }
    }

    var bytes: [UInt8]? { if case .text(let bytes) = self { bytes } else { nil } }
    var string: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
    var flag: Bool? { if case .flag(let value) = self { value } else { nil } }
    var list: [TokenizerFile]? { if case .array(let values) = self { values } else { nil } }
    var isNull: Bool { if case .null = self { true } else { false } }

    var integer: Int32? { if case .number(let value) = self { Int32(exactly: value) } else { nil } }

    /// A whole number. Throws `ModelError.bundle` where it is none.
    func asInteger(_ what: String) throws -> Int32 {
        guard let integer else { throw TokenizerFile.damaged(what) }
        return integer
    }

    static func damaged(_ what: String) -> ModelError {
        .bundle("tokenizer.json: found no \(what); get the bundle again")
    }
}

private struct Parser {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    func damaged() -> ModelError { TokenizerFile.damaged("JSON at byte \(at)") }

    mutating func skipBlanks() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    mutating func value(depth: Int) throws -> TokenizerFile {
        skipBlanks()
        guard at < bytes.count, depth < 100 else { throw damaged() }
        switch bytes[at] {
        case UInt8(ascii: "{"):
            var values: [[UInt8]: TokenizerFile] = [:]
            try members(until: UInt8(ascii: "}")) { parser in
                let key = try parser.text()
                parser.skipBlanks()
                guard parser.take(UInt8(ascii: ":")) else { throw parser.damaged() }
                values[key] = try parser.value(depth: depth + 1)
            }
            return .object(values)
        case UInt8(ascii: "["):
            var values: [TokenizerFile] = []
            try members(until: UInt8(ascii: "]")) { parser in
                values.append(try parser.value(depth: depth + 1))
            }
            return .array(values)
        case UInt8(ascii: "\""): return .text(try text())
        default: return try word()
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func members(until end: UInt8, each: (inout Parser) throws -> Void) throws {
        at += 1
        skipBlanks()
        if take(end) { return }
        repeat {
            skipBlanks()
            try each(&self)
            skipBlanks()
        } while take(UInt8(ascii: ","))
        guard take(end) else { throw damaged() }
    }

    private mutating func word() throws -> TokenizerFile {
        let start = at
        let ends = [UInt8](",]} \t\n\r".utf8)
        while at < bytes.count, !ends.contains(bytes[at]) { at += 1 }
        switch String(decoding: bytes[start..<at], as: UTF8.self) {
        case "true": return .flag(true)
        case "false": return .flag(false)
        case "null": return .null
        case let word:
            guard let number = Double(word) else { throw damaged() }
            return .number(number)
        }
    }

    private mutating func text() throws -> [UInt8] {
        guard take(UInt8(ascii: "\"")) else { throw damaged() }
        var found: [UInt8] = []
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") { return found }
            if byte == UInt8(ascii: "\\") { try escape(&found) } else { found.append(byte) }
        }
        throw damaged()
    }

    private mutating func escape(_ found: inout [UInt8]) throws {
        guard at < bytes.count else { throw damaged() }
        let byte = bytes[at]
        at += 1
        let plain: [UInt8: UInt8] = [0x62: 0x08, 0x66: 0x0C, 0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09]
        guard byte == UInt8(ascii: "u") else {
            found.append(plain[byte] ?? byte)
            return
        }
        var units = [try unit()]
        // Two units are one character beyond U+FFFF.
        if (0xD800..<0xDC00).contains(units[0]), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
            units.append(try unit())
        }
        found += Array(String(decoding: units, as: UTF16.self).utf8)
    }

    private mutating func unit() throws -> UInt16 {
        guard at + 4 <= bytes.count,
            let unit = UInt16(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        else { throw damaged() }
        at += 4
        return unit
    }
}
