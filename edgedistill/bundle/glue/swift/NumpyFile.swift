import Foundation

extension Tensor {
    private static let types: [String: DType] = [
        "<f2": .float16, "<f4": .float32, "<f8": .float64, "|i1": .int8, "|u1": .uint8, "<i2": .int16, "<u2": .uint16,
        "<i4": .int32, "<i8": .int64, "|b1": .bool,
    ]

    /// The array in the bytes of a .npy file (versions 1 to 3, little endian, C order).
    ///
    /// Throws `ModelError.bundle`, which calls the file `name`.
    public init(npy file: Data, name: String) throws {
        func damaged(_ found: String) -> ModelError {
            ModelError.bundle("\(name): found \(found), expected a .npy file; get the bundle again")
        }
        let bytes = Data(file)  // a slice of Data would count from another index
        guard bytes.count >= 12, bytes.prefix(6) == Data([0x93] + "NUMPY".utf8) else {
            throw damaged("another kind of file")
        }
        let version = bytes[6]
        guard (1...3).contains(version) else {
            throw damaged("version \(version) of the format")
        }
        let lengthBytes = version == 1 ? 2 : 4
        let length = (0..<lengthBytes).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
        let start = 8 + lengthBytes
        guard start + length <= bytes.count else {
            throw damaged("a header that is cut short")
        }
        // The header is a literal of Python: {'descr': '<f4', 'fortran_order': False, 'shape': (16, 10), }
        let header = String(decoding: bytes[start..<start + length], as: UTF8.self)
        guard let descr = Self.value(of: "descr", in: header),
            let dtype = Self.types[descr.filter { !"'\" ".contains($0) }],
            Self.value(of: "fortran_order", in: header) == "False", let sizes = Self.shape(in: header)
        else {
            throw damaged("the header \(header.trimmingCharacters(in: .whitespacesAndNewlines))")
        }
        do {
            try self.init(dtype: dtype, shape: sizes, data: bytes.subdata(in: start + length..<bytes.count))
        } catch let error as ModelError {
            throw damaged(error.message)
        }
    }

    /// The text between `'key':` and the next comma.
    private static func value(of key: String, in header: String) -> String? {
        guard let found = header.range(of: "'\(key)':") else { return nil }
        return header[found.upperBound...].prefix { $0 != "," }.trimmingCharacters(in: .whitespaces)
    }

    private static func shape(in header: String) -> [Int]? {
        guard let found = header.range(of: "'shape':"), let open = header[found.upperBound...].firstIndex(of: "("),
            let close = header[open...].firstIndex(of: ")")
        else { return nil }
        let numbers = header[header.index(after: open)..<close].split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }.filter { !$0.isEmpty }
        let sizes = numbers.compactMap { Int($0) }
        return sizes.count == numbers.count ? sizes : nil
    }
}
