/// Reads rows of the upright picture of a frame as RGB, without turning the frame itself.
///
/// The arithmetic is in integers and the same as in training and in the glue code of other languages: change nothing.
struct PixelReader {
    typealias Pixels = UnsafeMutablePointer<UInt8>

    private let frame: Frame
    /// The size when upright, in pixels.
    let width: Int
    let height: Int
    // The place in memory of the upright pixel (x, y) is origin + x * column + y * row.
    private let origin: (x: Int, y: Int)
    private let column: (x: Int, y: Int)
    private let row: (x: Int, y: Int)

    /// - Parameter frame: One that `check()` has passed.
    init(_ frame: Frame) {
        self.frame = frame
        let (right, bottom) = (frame.width - 1, frame.height - 1)
        switch frame.orientation {
        case 2: (origin, column, row) = ((right, 0), (-1, 0), (0, 1))
        case 3: (origin, column, row) = ((right, bottom), (-1, 0), (0, -1))
        case 4: (origin, column, row) = ((0, bottom), (1, 0), (0, -1))
        case 5: (origin, column, row) = ((0, 0), (0, 1), (1, 0))
        case 6: (origin, column, row) = ((0, bottom), (0, -1), (1, 0))
        case 7: (origin, column, row) = ((right, bottom), (0, -1), (-1, 0))
        case 8: (origin, column, row) = ((right, 0), (0, 1), (-1, 0))
        default: (origin, column, row) = ((0, 0), (1, 0), (0, 1))
        }
        (width, height) = frame.orientation > 4 ? (frame.height, frame.width) : (frame.width, frame.height)
    }

    /// Writes the pixels `columns` of the upright row `y` to the start of `pixels`, which has 3 bytes for each.
    func read(row y: Int, columns: Range<Int>, into pixels: Pixels) {
        let x = origin.x + y * row.x + columns.lowerBound * column.x
        let line = origin.y + y * row.y + columns.lowerBound * column.y
        switch frame.format {
        case .rgb8: readColor(x, line, columns.count, (0, 1, 2), pixels)
        case .bgr8: readColor(x, line, columns.count, (2, 1, 0), pixels)
        case .rgba8: readAlpha(x, line, columns.count, (0, 1, 2), pixels)
        case .bgra8: readAlpha(x, line, columns.count, (2, 1, 0), pixels)
        case .grey8: readGrey(x, line, columns.count, pixels) { bytes, at in bytes[at] }
        case .grey16:
            readGrey(x, line, columns.count, pixels) { bytes, at in
                clamped((bytes[at].number + bytes[at + 1].number << 8 + 128) / 257)
            }
        case .yuv420: readYUV(x, line, columns.count, pixels)
        }
    }

    /// Where pixel (x, y) begins in a plane, and how far it is to the next one of an upright row.
    private func start(_ plane: Frame.Plane, _ x: Int, _ y: Int) -> (at: Int, step: Int) {
        (
            plane.offset + y * plane.rowStride + x * plane.pixelStride,
            column.y * plane.rowStride + column.x * plane.pixelStride
        )
    }

    private func readColor(_ x: Int, _ y: Int, _ count: Int, _ order: (Int, Int, Int), _ pixels: Pixels) {
        let bytes = frame.planes[0].bytes
        var (at, step) = start(frame.planes[0], x, y)
        for index in 0..<count {
            pixels[3 * index] = bytes[at + order.0]
            pixels[3 * index + 1] = bytes[at + order.1]
            pixels[3 * index + 2] = bytes[at + order.2]
            at += step
        }
    }

    private func readAlpha(_ x: Int, _ y: Int, _ count: Int, _ order: (Int, Int, Int), _ pixels: Pixels) {
        let bytes = frame.planes[0].bytes
        var (at, step) = start(frame.planes[0], x, y)
        for index in 0..<count {
            let alpha = bytes[at + 3].number
            pixels[3 * index] = overWhite(bytes[at + order.0].number, alpha)
            pixels[3 * index + 1] = overWhite(bytes[at + order.1].number, alpha)
            pixels[3 * index + 2] = overWhite(bytes[at + order.2].number, alpha)
            at += step
        }
    }

    private func readGrey(_ x: Int, _ y: Int, _ count: Int, _ pixels: Pixels, _ value: ([UInt8], Int) -> UInt8) {
        let bytes = frame.planes[0].bytes
        var (at, step) = start(frame.planes[0], x, y)
        for index in 0..<count {
            let grey = value(bytes, at)
            pixels[3 * index] = grey
            pixels[3 * index + 1] = grey
            pixels[3 * index + 2] = grey
            at += step
        }
    }

    private func readYUV(_ x: Int, _ y: Int, _ count: Int, _ pixels: Pixels) {
        let (luma, blue, red) = (frame.planes[0], frame.planes[1], frame.planes[2])
        let (yBytes, uBytes, vBytes) = (luma.bytes, blue.bytes, red.bytes)
        let factors = YUVFactors(frame.matrix, frame.range)
        for index in 0..<count {
            let (px, py) = (x + index * column.x, y + index * column.y)
            let (cx, cy) = (px / 2, py / 2)
            let y = yBytes[luma.offset + py * luma.rowStride + px * luma.pixelStride].number
            let scaled = (y - factors.black) * factors.luma
            let u = uBytes[blue.offset + cy * blue.rowStride + cx * blue.pixelStride].number - 128
            let v = vBytes[red.offset + cy * red.rowStride + cx * red.pixelStride].number - 128
            pixels[3 * index] = clamped((scaled + factors.redV * v + 32768) >> 16)
            pixels[3 * index + 1] = clamped((scaled - factors.greenU * u - factors.greenV * v + 32768) >> 16)
            pixels[3 * index + 2] = clamped((scaled + factors.blueU * u + 32768) >> 16)
        }
    }
}

/// The factors of a matrix and range, times 65536.
private struct YUVFactors {
    let black: Int
    let luma: Int
    let redV: Int
    let greenU: Int
    let greenV: Int
    let blueU: Int

    init(_ matrix: Frame.Matrix, _ range: Frame.Range) {
        (black, luma) = range == .full ? (0, 65536) : (16, 76309)
        (redV, greenU, greenV, blueU) =
            switch (matrix, range) {
            case (.bt601, .full): (91881, 22553, 46802, 116_130)
            case (.bt601, .video): (104_597, 25675, 53279, 132_201)
            case (.bt709, .full): (103_206, 12276, 30679, 121_609)
            case (.bt709, .video): (117_489, 13975, 34925, 138_438)
            }
    }
}

/// A channel of a transparent pixel over white.
private func overWhite(_ value: Int, _ alpha: Int) -> UInt8 {
    guard alpha > 0 else { return 255 }
    let share = alpha * 128
    let sum = value * share + 255 * (32640 - share) + (128 << 7)
    return clamped((((sum >> 8) + sum) >> 8) >> 7)
}

// Frames have millions of bytes. In a build for debugging, `Int(byte)`, `UInt8(number)` and `min` are calls of generic
// code, of 13 to 70 ns on a PC, and arrays check each place. So there are other ways here, and pointers: 1080p takes
// 0.18 s of processor time there, and 0.67 s without them. A build for release takes 12 ms with and without them.
extension UInt8 {
    /// The byte as a number.
    var number: Int { Int(bitPattern: words[0]) }
}

private let byteOf = (0...255).map { UInt8($0) }

/// `value` in 0...255.
func clamped(_ value: Int) -> UInt8 {
    byteOf[value < 0 ? 0 : value > 255 ? 255 : value]
}
